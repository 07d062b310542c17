// Bytes between host and device. The driver is a fake one: it proves which calls are made, what is
// left when they fail, and that the bytes are the same; nothing about speed.
#include <thread>
#include <vector>

#include "gpu/cuda_backend.h"
#include "gpu/driver.h"
#include "shm/shm_backend.h"
#include "strata/gpu/device_copy.h"
#include "strata/gpu/map_to_device.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/temp_dir.h"

using namespace strata;
using namespace strata::cuda;
using namespace strata::test;

namespace {

constexpr std::uint64_t kBytes = MiB(20) + 12'345;

struct Machine {
  explicit Machine(FakeMachine machine = {.devices = 2}) : fake(std::move(machine)) {}
  FakeDevices fake;
  TempDir directory{"/dev/shm"};
};

template <typename T>
T must(Result<T> made) {
  if (!made) std::fprintf(stderr, "%s\n", made.error().to_string().c_str());
  STRATA_CHECK(made.has_value());
  if constexpr (!std::is_void_v<T>) return std::move(*made);
}

template <typename T>
bool fails(const Result<T>& result, Code code, std::string_view text = "") {
  if (!result && result.error().code() == code &&
      result.error().message().find(text) != std::string::npos) {
    return true;
  }
  std::fprintf(stderr, "%s\n", result ? "it succeeded" : result.error().to_string().c_str());
  return false;
}

// What a child of a test works with.
struct Process {
  explicit Process(const Machine& machine)
      : shm(os, {machine.directory.path(), {}, {}}),
        gpu(os, {.directory = machine.directory.path(),
                 .driver_library = fake_driver_path(),
                 .device_directory = machine.fake.directory()}),
        devices(must(gpu.devices())) {}

  Segment on_host(const std::string& name, std::uint64_t bytes = kBytes) {
    CreateOptions options;
    options.payload_bytes = bytes;
    options.max_bytes = bytes + MiB(4);
    return must(shm.create({"shm", {}, name}, options));
  }
  Segment on_device(const std::string& name, int device = 0, std::uint64_t bytes = kBytes) {
    CreateOptions options;
    options.payload_bytes = bytes;
    options.device.device = std::to_string(device);
    return must(gpu.create({"cuda", {}, name}, options));
  }
  Device& device(std::size_t number = 0) { return *devices->all()[number]; }
  void wait() {
    const auto scope = must(device().enter());
    must(STRATA_CUDA(device().driver(), cuCtxSynchronize));
  }

  RealOs os;
  ShmBackend shm;
  CudaBackend gpu;
  std::shared_ptr<Devices> devices;
};

std::vector<std::byte> pattern(std::uint64_t bytes, unsigned seed = 1) {
  std::vector<std::byte> content(bytes);
  for (std::size_t i = 0; i < bytes; ++i)
    content[i] = static_cast<std::byte>(((i + seed) * 2'654'435'761U) >> 13);
  return content;
}

std::vector<std::byte> bytes_of(const Segment& segment) {
  std::vector<std::byte> content(segment.payload_bytes());
  must(segment.read(0, content));
  return content;
}

std::int64_t calls(const char* name) { return static_cast<std::int64_t>(fake_calls(name)); }
std::int64_t registered() { return calls("cuMemHostRegister") - calls("cuMemHostUnregister"); }

// Runs `work` with its first, second, … call of the driver failing, until none does, and `check`
// after each. Returns how many there were.
template <typename Work, typename Check>
int fail_each_call(Work work, Check check) {
  for (int n = 1;; ++n) {
    forget_fake_failures();
    fail_fake_call("*", static_cast<std::uint64_t>(n), kOutOfMemory);
    const std::uint64_t before = fake_calls("*");
    const Result<void> done = work();
    const bool was_reached = fake_calls("*") - before >= static_cast<std::uint64_t>(n);
    forget_fake_failures();
    check(done);
    if (!was_reached) {
      must(done);
      return n - 1;
    }
  }
}

}  // namespace

TEST_CASE("bytes_pass_the_ring_unchanged_at_every_size_and_offset") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_device("x");
    const auto content = pattern(kBytes);
    for (const std::uint64_t size :
         {std::uint64_t{1}, KiB(4) + 1, StagingRing::kDirectBytes, StagingRing::kDirectBytes + 1,
          MiB(2) - 1, MiB(2), MiB(2) + 1, MiB(16), MiB(17) + 3}) {
      for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1}, MiB(3) - 7}) {
        must(segment.write(0, std::vector<std::byte>(kBytes)));
        must(segment.write(offset, std::span(content).first(size)));
        std::vector<std::byte> got(size + 1);
        must(segment.read(offset, got));
        STRATA_CHECK(std::equal(got.begin(), got.end() - 1, content.begin()));
        STRATA_CHECK(got.back() == std::byte{0});
      }
    }
    return true;
  }));
}

TEST_CASE("threads_share_the_ring_and_each_gets_its_own_bytes") {
  Machine machine;
  machine.fake.set("DELAY_US", "20");
  CHECK(child_says([&] {
    Process self(machine);
    std::vector<Segment> segments;
    for (int i = 0; i < 6; ++i)
      segments.push_back(self.on_device("x" + std::to_string(i), 0, MiB(7)));
    std::vector<std::jthread> threads;
    std::atomic<int> good{0};
    for (unsigned i = 0; i < 6; ++i) {
      threads.emplace_back([&, i] {
        const auto content = pattern(MiB(7), i);
        for (int round = 0; round < 3; ++round) {
          must(segments[i].write(0, content));
          if (bytes_of(segments[i]) == content) good += 1;
        }
      });
    }
    threads.clear();
    const auto ring = StagingRing::of(self.device());
    return good == 18 && ring->buffers().pinned_bytes() <= MiB(16);
  }));
}

TEST_CASE("a_copy_costs_the_calls_that_it_says") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_device("x");
    std::vector<std::byte> content(MiB(6));
    must(segment.read(0, content));  // makes buffers and stream
    must(segment.write(0, content));
    const auto cost = [&](auto work) {
      const std::uint64_t before = fake_calls("*");
      work();
      return fake_calls("*") - before;
    };
    const std::span<std::byte> small = std::span(content).first(KiB(64));
    STRATA_CHECK(cost([&] { must(segment.read(0, small)); }) == 3);
    STRATA_CHECK(cost([&] { must(segment.write(0, small)); }) == 3);
    STRATA_CHECK(cost([&] { must(segment.read(0, content)); }) == 6 + 3 * 3);
    STRATA_CHECK(cost([&] { must(segment.write(0, content)); }) == 6 + 3 * 3);
    STRATA_CHECK(cost([&] { must(segment.read(0, {})); }) == 0);
    return true;
  }));
}

TEST_CASE("a_ring_whose_calls_fail_goes_on_and_keeps_no_pinned_memory_at_its_end") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_device("x", 0, MiB(9));
    const auto content = pattern(MiB(9));
    must(segment.write(0, content));
    const CuDevicePointer address = must(segment.device_bytes()).address;
    std::int64_t failed_allocations = 0;
    const std::int64_t before = calls("cuMemHostAlloc") - calls("cuMemFreeHost");
    const int count = fail_each_call(
        [&]() -> Result<void> {
          StagingRing ring(self.device());
          std::vector<std::byte> got(content.size());
          auto done = ring.copy_to_host(address, got);
          if (done && got != content) done = fail(Code::internal, "other bytes");
          // Of what gives the memory back nobody hears.
          forget_fake_failures();
          if (!done) {
            if (done.error().message().find("cuMemHostAlloc") != std::string::npos)
              failed_allocations += 1;
            // It is as good as before.
            must(ring.copy_to_host(address, got));
            must(ring.copy_to_device(address, content));
            STRATA_CHECK(got == content);
          }
          return done;
        },
        [](const auto&) {});
    STRATA_CHECK(calls("cuMemHostAlloc") - calls("cuMemFreeHost") - failed_allocations == before);
    return count > 20 && failed_allocations >= 5;
  }));
}

TEST_CASE("a_view_gives_the_device_the_bytes_of_the_host_and_outlives_the_segment") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment target = self.on_device("x");
    const auto content = pattern(kBytes);
    const auto view = [&] {
      Segment segment = self.on_host("x");
      must(segment.write(0, content));
      return must(map_to_device(segment, self.device()));
    }();
    STRATA_CHECK(view.span().bytes == kBytes && view.span().device_uuid == self.device().uuid());
    const auto scope = must(self.device().enter());
    must(STRATA_CUDA(self.device().driver(), cuMemcpy, must(target.device_bytes()).address,
                     view.span().address, kBytes));
    STRATA_CHECK(must(self.shm.stat({"shm", {}, "x"})).is_attached);
    return bytes_of(target) == content;
  }));
}

TEST_CASE("views_of_one_attachment_share_its_registration") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_host("x");
    {
      const DeviceView first = must(map_to_device(segment, self.device()));
      const Segment shared = segment.share();
      const DeviceView second = must(map_to_device(shared, self.device(1)));
      STRATA_CHECK(registered() == 1 && first.span().address == second.span().address);
      // Another attachment is other pages of address space.
      const Segment again = must(self.shm.attach({"shm", {}, "x"}, {}));
      const DeviceView third = must(map_to_device(again, self.device()));
      STRATA_CHECK(registered() == 2);
    }
    return registered() == 0;
  }));
}

TEST_CASE("of_a_segment_that_grew_only_the_new_pages_are_registered") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_host("x", 10'000);
    const DeviceView before = must(map_to_device(segment, self.device()));
    must(segment.grow(12'000));
    const DeviceView same_page = must(map_to_device(segment, self.device()));
    STRATA_CHECK(registered() == 1 && same_page.span().bytes == 12'000);
    must(segment.grow(MiB(1)));
    const DeviceView after = must(map_to_device(segment, self.device()));
    return registered() == 2 && after.span().bytes == MiB(1) && before.span().bytes == 10'000;
  }));
}

TEST_CASE("a_registration_that_fails_at_any_piece_leaves_nothing_registered") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    const Segment segment = self.on_host("x", MiB(1));
    for (std::uint64_t n = 1; n <= 16; ++n) {
      fail_fake_call("cuMemHostRegister", n, kOutOfMemory);
      const std::int64_t before = registered();
      STRATA_CHECK(fails(HostRegistration::of(segment, self.device(), KiB(64)), Code::exhausted,
                         "pin 64 KiB"));
      forget_fake_failures();
      STRATA_CHECK(registered() == before + 1);  // the one that failed was counted as a call
    }
    STRATA_CHECK(HostRegistration::find(segment) == nullptr);
    const std::int64_t before = registered();
    const auto made = must(HostRegistration::of(segment, self.device(), KiB(64)));
    return registered() == before + 16 && made->bytes() == MiB(1);
  }));
}

TEST_CASE("a_mapping_that_fails_at_any_call_leaves_nothing_registered") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    const Segment segment = self.on_host("x", MiB(1));
    const int count = fail_each_call(
        [&]() -> Result<void> {
          STRATA_ASSIGN(const DeviceView view, map_to_device(segment, self.device()));
          forget_fake_failures();
          return {};
        },
        [&](const auto&) { STRATA_CHECK(HostRegistration::find(segment) == nullptr); });
    // The driver itself refuses what is registered already.
    must(map_to_device(segment, self.device()));
    return count >= 5;
  }));
}

TEST_CASE("read_only_memory_is_mapped_where_the_device_takes_it_and_else_refused_with_the_remedy") {
  for (const bool takes_it : {true, false}) {
    const Machine machine({.devices = 1, .more = {{"ATTRIBUTES", takes_it ? "113=1" : "113=0"}}});
    CHECK(child_says([&] {
      Process self(machine);
      self.on_host("x", MiB(1));
      const Segment reader = must(self.shm.attach({"shm", {}, "x"}, {.access = Access::read_only}));
      const auto view = map_to_device(reader, self.device());
      if (takes_it) return view.has_value();
      return fails(view, Code::unsupported, "attach it for writing");
    }));
  }
}

TEST_CASE("private_edits_and_device_memory_are_not_mapped") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    self.on_host("x", MiB(1));
    const Segment edits =
        must(self.shm.attach({"shm", {}, "x"}, {.access = Access::copy_on_write}));
    STRATA_CHECK(fails(map_to_device(edits, self.device()), Code::unsupported, "private edits"));
    return fails(map_to_device(self.on_device("x"), self.device()), Code::unsupported, "device");
  }));
}

TEST_CASE("pages_that_somebody_else_registered_are_refused") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_host("x", MiB(1));
    const auto scope = must(self.device().enter());
    must(STRATA_CUDA(self.device().driver(), cuMemHostRegister,
                     must(segment.writable_bytes()).data(), KiB(4), 0));
    return fails(map_to_device(segment, self.device()), Code::failed_precondition);
  }));
}

TEST_CASE("a_view_says_which_node_is_near_and_which_pages_are_not") {
  const Machine machine({.devices = 1, .more = {{"ATTRIBUTES", "134=7"}}});
  CHECK(child_says([&] {
    Process self(machine);
    const DeviceView view = must(map_to_device(self.on_host("x", MiB(1)), self.device()));
    STRATA_CHECK(view.near().node == 7 && view.near().source == "the driver");
    STRATA_CHECK(view.pages().pages_total == 256 && view.pages().pages_absent == 0);
    return view.caution().find("256 of its 256 pages are not on node 7") != std::string::npos;
  }));
}

TEST_CASE("ten_thousand_mappings_keep_nothing_registered") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    const Segment segment = self.on_host("x", KiB(64));
    for (int i = 0; i < 10'000; ++i) {
      const DeviceView view = must(map_to_device(segment, self.device()));
      STRATA_CHECK(registered() == 1);
    }
    return registered() == 0;
  }));
}

TEST_CASE("a_forked_child_may_drop_what_it_inherits") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_device("x");
    const auto content = pattern(kBytes);
    must(segment.write(0, content));
    auto view = std::optional(must(map_to_device(self.on_host("x"), self.device())));
    STRATA_CHECK(child_says([&] {
      view.reset();
      std::vector<std::byte> got(kBytes);
      return fails(segment.read(0, got), Code::failed_precondition, "forked");
    }));
    return registered() == 1 && bytes_of(segment) == content;
  }));
}

namespace {

struct Way {
  CopyPath path;
  CopyState state;
};

// Copies odd ranges there, and tells whether they arrived and nothing beside them.
bool arrives(Process& self, const Segment& from, Segment& to, Way expected) {
  const auto content = pattern(kBytes, 5);
  const std::uint64_t bytes = MiB(9) + 77;
  must(to.write(0, std::vector<std::byte>(kBytes)));
  const CopyOnStream done = must(cuda::copy(
      from, to, nullptr, {.from_offset_bytes = 4'097, .to_offset_bytes = 33, .bytes = bytes}));
  self.wait();
  STRATA_CHECK(done.path == expected.path && done.state == expected.state && done.bytes == bytes);
  STRATA_CHECK(done.why.empty() == (done.path != CopyPath::staged));
  std::vector<std::byte> wanted(kBytes);
  std::copy_n(content.begin() + 4'097, bytes, wanted.begin() + 33);
  return bytes_of(to) == wanted;
}

}  // namespace

TEST_CASE("a_copy_takes_the_direct_way_where_there_is_one_and_says_why_where_not") {
  Machine machine;
  machine.fake.set("DELAY_US", "100");
  CHECK(child_says([&] {
    Process self(machine);
    const auto content = pattern(kBytes, 5);
    Segment host = self.on_host("a");
    Segment other_host = self.on_host("b");
    Segment mapped = self.on_host("c");
    Segment near = self.on_device("a", 0);
    Segment near_too = self.on_device("b", 0);
    Segment far = self.on_device("c", 1);
    Segment far_seen_near = must(self.gpu.attach({"cuda", {}, "c"}, {.device = "0"}));
    const DeviceView view = must(map_to_device(mapped, self.device()));
    for (Segment* const from : {&host, &mapped, &near, &far})
      must(from->write(0, content));
    const Way staged{CopyPath::staged, CopyState::done};
    const Way pinned{CopyPath::pinned, CopyState::begun};
    STRATA_CHECK(arrives(self, host, near_too, staged));
    STRATA_CHECK(arrives(self, near, other_host, staged));
    STRATA_CHECK(arrives(self, mapped, near_too, pinned));
    STRATA_CHECK(arrives(self, near, near_too, {CopyPath::on_device, CopyState::begun}));
    STRATA_CHECK(arrives(self, far_seen_near, near_too, {CopyPath::peer, CopyState::begun}));
    STRATA_CHECK(arrives(self, far, near_too, staged));
    STRATA_CHECK(arrives(self, host, other_host, {CopyPath::host, CopyState::done}));
    return arrives(self, near, mapped, pinned);
  }));
}

TEST_CASE("a_direct_copy_costs_one_call_in_its_context") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment host = self.on_host("a");
    Segment one = self.on_device("a");
    Segment two = self.on_device("b");
    const DeviceView view = must(map_to_device(host, self.device()));
    for (const auto& [from, to] : {std::pair{&host, &one}, {&one, &host}, {&one, &two}}) {
      const std::uint64_t before = fake_calls("*");
      must(cuda::copy(*from, *to, nullptr));
      STRATA_CHECK(fake_calls("*") - before == 3);
    }
    return true;
  }));
}

TEST_CASE("a_copy_comes_after_what_is_on_the_stream") {
  Machine machine;
  machine.fake.set("DELAY_US", "20000");
  CHECK(child_says([&] {
    Process self(machine);
    Segment one = self.on_device("a", 0, MiB(1));
    Segment host = self.on_host("a", MiB(1));
    const auto scope = must(self.device().enter());
    const Driver& driver = self.device().driver();
    CuStream stream = nullptr;
    must(STRATA_CUDA(driver, cuStreamCreate, &stream, kStreamNonBlocking));
    must(STRATA_CUDA(driver, cuMemsetD8Async, must(one.device_bytes()).address, 0xab, MiB(1),
                     stream));
    must(cuda::copy(one, host, stream));
    return bytes_of(host) == std::vector<std::byte>(MiB(1), std::byte{0xab});
  }));
}

TEST_CASE("a_copy_refuses_what_is_out_of_range_or_overlaps_or_is_not_to_be_written") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    const Segment source = self.on_device("a", 0, 1'000);
    Segment target = self.on_device("b", 0, 1'000);
    Segment host = self.on_host("a", 1'000);
    Segment reader = must(self.gpu.attach({"cuda", {}, "b"}, {.access = Access::read_only}));
    constexpr std::uint64_t kMost = ~std::uint64_t{0};
    for (const CopyRange range : {CopyRange{1'001, 0, {}},
                                  {0, 1, 1'000},
                                  {kMost, 0, 1},
                                  {0, kMost, 2},
                                  {2, 2, kMost},
                                  {1, 0, 1'000}}) {
      STRATA_CHECK(fails(cuda::copy(source, target, nullptr, range), Code::invalid_argument));
      STRATA_CHECK(fails(cuda::copy(source, host, nullptr, range), Code::invalid_argument));
    }
    STRATA_CHECK(fails(cuda::copy(target, target, nullptr, {0, 10, 11}), Code::invalid_argument));
    must(cuda::copy(target, target, nullptr, {0, 10, 10}));
    STRATA_CHECK(must(cuda::copy(source, target, nullptr, {1'000, 0, {}})).bytes == 0);
    const std::uint64_t before = fake_calls("*");
    STRATA_CHECK(
        fails(cuda::copy(source, reader, nullptr), Code::failed_precondition, "read-only"));
    return fake_calls("*") == before;
  }));
}

TEST_CASE("a_copy_that_fails_at_any_call_says_so_and_the_next_one_works") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment near = self.on_device("a", 0, MiB(5));
    Segment far = self.on_device("b", 1, MiB(5));
    Segment host = self.on_host("a", MiB(5));
    const auto content = pattern(MiB(5));
    must(host.write(0, content));
    const int count = fail_each_call(
        [&]() -> Result<void> {
          STRATA_TRY(cuda::copy(host, near, nullptr));
          STRATA_TRY(cuda::copy(near, far, nullptr));
          must(host.write(0, std::vector<std::byte>(MiB(5))));
          STRATA_TRY(cuda::copy(far, host, nullptr));
          return {};
        },
        [&](const Result<void>& done) {
          if (!done) must(host.write(0, content));
          STRATA_CHECK(bytes_of(host) == content);
        });
    return count > 30;
  }));
}
