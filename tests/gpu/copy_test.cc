// Copies between any two segments, on a fake driver.
#include <utility>
#include <vector>

#include "strata/gpu/device_copy.h"
#include "strata/gpu/map_to_device.h"
#include "tests/catch.h"
#include "tests/gpu/move_testing.h"

using namespace strata;
using namespace strata::cuda;
using namespace strata::test;

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
    STRATA_CHECK(arrives(self, far, near_too, {CopyPath::peer, CopyState::begun}));
    STRATA_CHECK(arrives(self, host, other_host, {CopyPath::host, CopyState::done}));
    return arrives(self, near, mapped, pinned);
  }));
}

TEST_CASE("between_devices_that_do_not_reach_each_other_a_copy_is_staged_and_says_so") {
  const Machine machine({.devices = 2, .more = {{"PEER", "0"}, {"DELAY_US", "100"}}});
  CHECK(child_says([&] {
    Process self(machine);
    Segment near = self.on_device("a", 0);
    Segment far = self.on_device("b", 1);
    must(near.write(0, pattern(kBytes, 5)));
    STRATA_CHECK(arrives(self, near, far, {CopyPath::staged, CopyState::done}));
    const std::string why = must(cuda::copy(near, far, nullptr)).why;
    for (const std::size_t device : {0, 1})
      STRATA_CHECK(why.find(self.device(device).describe()) != std::string::npos);
    const auto attached = self.gpu.attach({"cuda", {}, "b"}, {.device = "0"});
    return fails(attached, Code::wrong_device, self.device(0).describe()) &&
           fails(attached, Code::wrong_device, self.device(1).describe());
  }));
}

TEST_CASE("a_copy_to_another_device_comes_after_what_is_queued_on_both") {
  const Machine machine({.devices = 2, .more = {{"DELAY_US", "20000"}}});
  CHECK(child_says([&] {
    Process self(machine);
    Segment near = self.on_device("a", 0, MiB(1));
    Segment far = self.on_device("b", 1, MiB(1));
    const Driver& driver = self.device().driver();
    const auto fill = [&](Device& device, const Segment& segment, unsigned char value) {
      const auto scope = must(device.enter());
      must(STRATA_CUDA(driver, cuMemsetD8Async, must(segment.device_bytes()).address, value, MiB(1),
                       nullptr));
    };
    fill(self.device(0), near, 0xab);
    fill(self.device(1), far, 0xcd);
    const CopyOnStream done = must(cuda::copy(near, far, nullptr));
    STRATA_CHECK(done.path == CopyPath::peer && done.state == CopyState::begun);
    self.wait();
    return bytes_of(far) == std::vector<std::byte>(MiB(1), std::byte{0xab});
  }));
}

TEST_CASE("a_sealed_segment_is_copied_to_another_device_which_cannot_write_to_it") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment near = self.on_device("a", 0, MiB(1));
    Segment far = self.on_device("b", 1, MiB(1));
    must(near.write(0, pattern(MiB(1))));
    must(cuda::copy(near, far, nullptr));  // device 1 may write to it from here on
    self.wait();
    must(near.seal());
    {
      const auto scope = must(self.device(1).enter());
      const auto written =
          STRATA_CUDA(self.device(1).driver(), cuMemcpy, must(near.device_bytes()).address,
                      must(far.device_bytes()).address, KiB(4));
      STRATA_CHECK(!written);
    }
    must(cuda::copy(near, far, nullptr));
    self.wait();
    return bytes_of(far) == pattern(MiB(1));
  }));
}

TEST_CASE("memory_of_cuda_ipc_is_copied_to_another_device_through_pinned_memory") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    CreateOptions options;
    options.payload_bytes = kBytes;
    options.device = {.device = "0", .mechanism = DeviceMechanism::legacy_ipc};
    Segment near = must(self.gpu.create({"cuda", {}, "a"}, options));
    Segment far = self.on_device("b", 1);
    must(near.write(0, pattern(kBytes, 5)));
    // In the process that exported it no handle opens it on another device.
    const auto attached = self.gpu.attach({"cuda", {}, "a"}, {.device = "1"});
    STRATA_CHECK(fails(attached, Code::wrong_device, self.device(0).describe()));
    STRATA_CHECK(fails(attached, Code::wrong_device, self.device(1).describe()));
    return arrives(self, near, far, {CopyPath::staged, CopyState::done});
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
