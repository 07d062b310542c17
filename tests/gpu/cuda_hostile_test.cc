// Peers and headers of device segments that lie: processes of the same user hand on what is no
// device memory, or memory of another size; headers with good checksums are of another boot, user
// or device, and speak of more than there is. Attaching ends in time and in an error that says why,
// or goes to somebody who is honest.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <random>

#include "gpu/descriptor_exchange.h"
#include "gpu/export_block.h"
#include "tests/catch.h"
#include "tests/gpu/cuda_world.h"
#include "tests/gpu/told_by_child.h"
#include "tests/skip.h"
#include "tests/verified.h"

using namespace strata;
using namespace strata::test;
using Catch::Matchers::StartsWith;

namespace {

const SegmentUri kUri{"cuda", {}, "mesh"};
constexpr std::uint64_t kShortMs = 2000;

struct Hostile {
  CudaWorld world;
  std::unique_ptr<Keeper> keeper = world.keep_new(kUri, device_segment());
  std::string file = world.directory() + "/strata-cuda.mesh";
  SegmentStat facts = world.tools.stat(kUri).value();

  Hostile() { REQUIRE(keeper->failure() == ""); }

  // What one who attaches is told; empty where it has the segment, and its bytes are right.
  std::string attach(std::uint64_t timeout_ms, Access access = Access::read_write) {
    const auto other = world.keep_attached(kUri, {.access = access, .timeout_ms = timeout_ms});
    return other->failure().empty() ? other->check() : other->failure();
  }

  // A liar has to know it, or nobody takes its word.
  std::uint64_t generation_of(const std::string& name) {
    const Fd header = world.os.open(world.directory() + "/strata-cuda." + name, O_RDONLY).value();
    std::uint64_t generation = 0;
    REQUIRE(world.os.pread(header.get(), std::as_writable_bytes(std::span(&generation, 1)),
                           offsetof(HeaderPage, live) + offsetof(LiveBlock, generation)));
    return generation;
  }

  // The header page, to be spoiled, and as it was again afterwards.
  void with_header(const std::function<void(HeaderPage&)>& change,
                   const std::function<void()>& body) {
    Fd open = world.os.open(file, O_RDWR).value();
    alignas(HeaderPage) std::array<std::byte, kHeaderBytes> bytes{};
    REQUIRE(world.os.pread(open.get(), bytes, 0).value() == bytes.size());
    const auto before = bytes;
    change(*reinterpret_cast<HeaderPage*>(bytes.data()));
    REQUIRE(world.os.pwrite(open.get(), bytes, 0));
    body();
    REQUIRE(world.os.pwrite(open.get(), before, 0));
  }

  void with_export(const std::function<void(ExportBlock&)>& change,
                   const std::function<void()>& body) {
    with_header(
        [&](HeaderPage& page) {
          ExportBlock& block = device_block_of(page).exported;
          change(block);
          sign(block);
        },
        body);
  }

  // Everybody who looks without a driver survives it.
  void look_at_it() {
    (void)world.tools.stat(kUri);
    REQUIRE(world.tools.list({}));
    REQUIRE(world.tools.reclaim({}, {.dry_run = true}));
  }

  void check_still_whole() {
    CHECK(keeper->check() == "");
    CHECK(attach(100'000) == "");
  }
};

struct Fake {
  std::string name;
  std::function<int()> make;
};

std::vector<Fake> wrong_descriptors() {
  return {
      {"a memfd", [] { return memfd_create("no-memory", MFD_CLOEXEC); }},
      {"/dev/null", [] { return open("/dev/null", O_RDWR | O_CLOEXEC); }},
      {"/dev/zero", [] { return open("/dev/zero", O_RDWR | O_CLOEXEC); }},
      {"a folder", [] { return open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }},
      {"a file by its path alone", [] { return open("/tmp", O_PATH | O_CLOEXEC); }},
      {"the end of a pipe",
       [] {
         int ends[2];
         if (pipe(ends) != 0) return -1;
         close(ends[1]);
         return ends[0];
       }},
      {"a socket", [] { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }},
  };
}

}  // namespace

TEST_CASE_METHOD(Hostile, "peers_that_hand_on_what_is_no_device_memory_are_passed_over") {
  cuda::DescriptorServer liar(world.os, world.directory());
  std::vector<std::unique_ptr<cuda::ServedDescriptor>> lies;
  for (const Fake& fake : wrong_descriptors()) {
    auto lie = liar.serve(
        {.uuid = facts.identity.uuid, .generation = generation_of("mesh"), .fd = Fd(fake.make())});
    REQUIRE(lie);
    lies.push_back(std::move(*lie));
  }
  std::uint64_t attached = 0;
  for (; attached < (is_driver_fake() ? 50 : 5); ++attached)
    REQUIRE(attach(100'000) == "");
  report_verified(attached, "attaches past peers that hand on what is no device memory");
}

TEST_CASE_METHOD(Hostile, "where_only_liars_answer_the_attach_ends_and_says_so") {
  keeper->stop();
  for (const Fake& fake : wrong_descriptors()) {
    cuda::DescriptorServer liar(world.os, world.directory());
    const auto lie = liar.serve(
        {.uuid = facts.identity.uuid, .generation = generation_of("mesh"), .fd = Fd(fake.make())});
    REQUIRE(lie);
    INFO(fake.name);
    const std::string told = attach(kShortMs);
    INFO(told);
    CHECK_THAT(told, StartsWith("corrupt") || StartsWith("timed_out"));
  }
  keeper->go_on();
  check_still_whole();
}

TEST_CASE_METHOD(Hostile, "memory_of_another_size_is_refused_and_unmapped") {
  CreateOptions larger = device_segment();
  larger.payload_bytes = MiB(10);
  const SegmentUri other{"cuda", {}, "other"};
  const auto its_keeper = world.keep_new(other, larger);
  REQUIRE(its_keeper->failure() == "");
  const auto other_facts = world.tools.stat(other).value();
  const auto descriptor_of = [&](const SegmentStat& of) {
    return cuda::ask_for_descriptor(
        world.os, {world.directory()},
        {.uuid = of.identity.uuid, .generation = generation_of(of.uri.name)},
        Deadline::after_ms(100'000));
  };
  const auto attach_by_lie = [&](const SegmentUri& uri, const SegmentStat& truth, Result<Fd> memory,
                                 Keeper& honest) {
    if (!memory) FAIL(memory.error().to_string());
    honest.stop();
    cuda::DescriptorServer liar(world.os, world.directory());
    const auto lie = liar.serve({.uuid = truth.identity.uuid,
                                 .generation = generation_of(uri.name),
                                 .fd = std::move(*memory)});
    REQUIRE(lie);
    const std::string told = world.keep_attached(uri, {.timeout_ms = kShortMs})->failure();
    honest.go_on();
    return told;
  };
  const std::uint64_t bytes = world.device_bytes();
  // Less than the header says.
  const std::string told = attach_by_lie(other, other_facts, descriptor_of(facts), *its_keeper);
  INFO(told);
  CHECK(told != "");
  CHECK(world.device_bytes() == bytes);
  CHECK(its_keeper->check() == "");
  check_still_whole();
}

TEST_CASE_METHOD(Hostile, "a_header_that_speaks_of_other_memory_than_there_is_is_refused") {
  struct Lie {
    const char* name;
    std::function<void(ExportBlock&)> tell;
  };
  const std::vector<Lie> lies = {
      {"more bytes than there are", [](ExportBlock& b) { b.allocation_bytes += MiB(2); }},
      {"a size that no allocation has", [](ExportBlock& b) { b.allocation_bytes -= 1; }},
      {"nearly all the bytes of the world", [](ExportBlock& b) { b.allocation_bytes = ~0ull; }},
      {"no bytes", [](ExportBlock& b) { b.allocation_bytes = 0; }},
      {"an offset behind the end", [](ExportBlock& b) { b.offset_bytes = b.allocation_bytes; }},
      {"an offset that overflows", [](ExportBlock& b) { b.offset_bytes = ~0ull - 1000; }},
      {"another device", [](ExportBlock& b) { b.device_uuid[3] ^= 0xff; }},
      {"an unknown mechanism", [](ExportBlock& b) { b.mechanism = 77; }},
      {"no mechanism", [](ExportBlock& b) { b.mechanism = 0; }},
      {"the mechanism of CUDA IPC, without a handle", [](ExportBlock& b) { b.mechanism = 2; }},
      {"a fabric handle of zeros", [](ExportBlock& b) { b.mechanism = 3; }},
      {"an address without an end",
       [](ExportBlock& b) { std::memset(b.pci_address.data(), '/', b.pci_address.size()); }},
  };
  for (const Lie& lie : lies) {
    with_export(lie.tell, [&] {
      look_at_it();
      const std::string told = attach(kShortMs);
      INFO(lie.name << ": " << told);
      if (lie.name != lies.back().name) CHECK(told != "");
    });
  }
  with_header([](HeaderPage& page) { page.backend[0] ^= 1; },
              [&] {
                look_at_it();
                CHECK_THAT(attach(kShortMs), StartsWith("corrupt"));
              });
  check_still_whole();
}

TEST_CASE_METHOD(Hostile, "a_header_of_another_boot_device_or_user_is_told_apart") {
  with_header(
      [](HeaderPage& page) {
        page.identity.boot_id[0] ^= 0xff;
        sign(page.identity);
      },
      [&] {
        look_at_it();
        CHECK_THAT(attach(kShortMs), StartsWith("failed_precondition"));
      });
  with_export([](ExportBlock& b) { b.device_uuid[3] ^= 0xff; },
              [&] { CHECK_THAT(attach(kShortMs), StartsWith("wrong_device")); });
  with_header(
      [](HeaderPage& page) {
        page.identity.kind = static_cast<std::uint32_t>(SegmentKind::shm);
        sign(page.identity);
      },
      [&] {
        look_at_it();
        CHECK(attach(kShortMs) != "");
      });
  if (geteuid() == 0) {
    REQUIRE(chown(file.c_str(), 1234, 1234) == 0);
    look_at_it();
    CHECK_THAT(attach(kShortMs), StartsWith("permission_denied"));
    REQUIRE(chown(file.c_str(), 0, 0) == 0);
  }
  check_still_whole();
}

TEST_CASE_METHOD(Hostile, "another_user_can_neither_attach_nor_harm") {
  if (geteuid() != 0) SKIP_TEST("needs root, to become another user");
  REQUIRE(chmod(world.directory().c_str(), 01777) == 0);
  const std::string told = told_by_child([&]() -> std::string {
    if (setgid(1234) != 0 || setuid(1234) != 0) return "cannot become another user";
    RealOs os;
    CudaBackend backend(os, world.options());
    const auto attached = backend.attach(kUri, {.timeout_ms = 100});
    if (attached) return "attached";
    if (attached.error().code() != Code::permission_denied) return attached.error().to_string();
    if (backend.remove(kUri, {.even_if_attached = true})) return "removed";
    (void)backend.reclaim({}, {});
    const auto got = cuda::ask_for_descriptor(
        os, {world.directory(), 0u}, {.uuid = facts.identity.uuid}, Deadline::after_ms(200));
    return got ? "was given the descriptor" : "";
  });
  CHECK(told == "");
  check_still_whole();
}

namespace {

// Bytes of both pages change to anything, and back again, for ever.
void scribble(const std::string& file, unsigned seed) {
  RealOs os;
  const Fd open = os.open(file, O_RDWR).value();
  std::byte* const map = os.mmap({.bytes = kDeviceHeaderFileBytes, .fd = open.get()}).value();
  const std::vector<std::byte> before(map, map + kDeviceHeaderFileBytes);
  std::mt19937 random(seed);
  while (true) {
    for (unsigned i = random() % 64; i > 0; --i) {
      // Mostly where attaching looks.
      const std::size_t at =
          random() % 2 == 0 ? 3072 + random() % 512 : random() % kDeviceHeaderFileBytes;
      map[at] = static_cast<std::byte>(random());
    }
    if (random() % 4 == 0) sign(device_block_of(*reinterpret_cast<HeaderPage*>(map)).exported);
    usleep(random() % 1000);
    std::memcpy(map, before.data(), before.size());
    usleep(random() % 5000);
  }
}

// All that a process does with a segment whose header changes under it, until it has been refused
// and has attached so many times.
void use_what_is_scribbled_on(const CudaOptions& options, std::uint64_t times) {
  RealOs os;
  CudaBackend backend(os, options);
  std::vector<std::byte> bytes(4096);
  for (std::uint64_t attached = 0, refused = 0; attached < times || refused < times;) {
    const auto access = attached % 2 ? Access::read_only : Access::read_write;
    auto segment = backend.attach(kUri, {.access = access, .timeout_ms = 20});
    (void)backend.stat(kUri);
    (void)backend.list({});
    (void)backend.reclaim({}, {.dry_run = true});
    segment ? ++attached : ++refused;
    if (!segment) continue;
    (void)segment->read(0, bytes);
    (void)segment->refresh();
    (void)segment->participant();
    (void)segment->verify();
    (void)segment->handle();
  }
}

}  // namespace

TEST_CASE_METHOD(Hostile, "a_process_that_scribbles_over_header_and_timelines_gives_errors_only") {
  const std::uint64_t times = is_driver_fake() ? 200 : 20;
  const unsigned seed = random_seed();
  const pid_t scribbler = start_child([&] { scribble(file, seed); });
  std::vector<pid_t> victims;
  for (int i = 0; i < 2; ++i) {
    victims.push_back(start_child([&] { use_what_is_scribbled_on(world.options(), times); }));
  }
  for (const pid_t victim : victims)
    CHECK(wait_for(victim) == 0);
  kill_child(scribbler);
  report_verified(2 * times, "attaches to device memory whose header is scribbled on");
}
