// Device memory into a pool and back. The driver is a fake one: it proves that what is in the pool
// is whole, whatever fails and whenever the process dies; nothing about speed.
#include <atomic>
#include <vector>

#include "gpu/cuda_backend.h"
#include "gpu/driver.h"
#include "strata/copy.h"
#include "strata/pmem/pool.h"
#include "strata/strata.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/temp_dir.h"

using namespace strata;
using namespace strata::test;

namespace {

constexpr std::uint64_t kBytes = MiB(13) + 12'345;
constexpr std::uint64_t kPieces = 14;  // of a mebibyte, that the device copies at a time

template <typename T>
T must(Result<T> made) {
  if (!made) std::fprintf(stderr, "%s\n", made.error().to_string().c_str());
  STRATA_CHECK(made.has_value());
  if constexpr (!std::is_void_v<T>) return std::move(*made);
}

std::vector<std::byte> pattern(unsigned seed, std::uint64_t bytes = kBytes) {
  std::vector<std::byte> content(bytes);
  for (std::size_t i = 0; i < bytes; ++i)
    content[i] = static_cast<std::byte>(((i + seed) * 2'654'435'761U) >> 13);
  return content;
}

// A pool, and a fake machine. Whoever uses the driver is a child of the test.
struct World {
  FakeDevices fake;
  TempDir directory{"/dev/shm"};
  RealOs os;
  Pool pool = Pool::create(os, directory / "p", {.bytes = MiB(96)}).value();

  // What the pool has as its current version.
  std::vector<std::byte> content() {
    std::vector<std::byte> bytes(kBytes);
    must(load_version(pool, "x", 0, bytes));
    return bytes;
  }
  std::uint64_t version() { return must(verify_blocks(pool, "x", 0)).version; }
};

struct Process {
  explicit Process(World& world)
      : catalog(open_catalog({.shm_directory = world.directory.path(),
                              .cuda = {.driver_library = fake_driver_path(),
                                       .device_directory = world.fake.directory()}})) {}
  Segment on_device(const std::string& name, unsigned seed = 0, std::uint64_t bytes = kBytes) {
    CreateOptions options;
    options.payload_bytes = bytes;
    Segment segment = must(catalog.create("cuda:" + name, options));
    if (seed != 0) must(segment.write(0, pattern(seed, bytes)));
    return segment;
  }
  Catalog catalog;
};

std::vector<std::byte> bytes_of(const Segment& segment) {
  std::vector<std::byte> content(segment.payload_bytes());
  must(segment.read(0, content));
  return content;
}

}  // namespace

TEST_CASE_METHOD(World, "device_memory_goes_into_a_pool_and_back_unchanged") {
  fake.set("DELAY_US", "50");
  CHECK(child_says([&] {
    Process self(*this);
    Segment segment = self.on_device("x", 1);
    for (const unsigned threads : {1U, 2U, 24U}) {
      const unsigned seed = 10 + threads;
      must(segment.write(0, pattern(seed)));
      std::atomic<std::uint64_t> seen{0};
      const auto report =
          must(checkpoint(segment, pool, "x",
                          {.threads = threads, .progress = [&](std::uint64_t n) { seen += n; }}));
      STRATA_CHECK(seen == kBytes && report.blocks == (kBytes + KiB(64) - 1) / KiB(64));
      STRATA_CHECK(content() == pattern(seed));
      Segment back = self.on_device("back");
      seen = 0;
      const auto restored =
          must(load_version(pool, "x", 0, back,
                            {.threads = threads, .progress = [&](std::uint64_t n) { seen += n; }}));
      STRATA_CHECK(seen == kBytes && restored.blocks_verified == report.blocks);
      STRATA_CHECK(bytes_of(back) == pattern(seed));
    }
    return true;
  }));
}

TEST_CASE_METHOD(World, "blocks_of_every_size_pass") {
  CHECK(child_says([&] {
    Process self(*this);
    const Segment segment = self.on_device("x", 3);
    for (const std::uint64_t block : {KiB(4), KiB(256), MiB(1), MiB(4)}) {
      must(checkpoint(segment, pool, "x", {.block_bytes = static_cast<std::uint32_t>(block)}));
      Segment back = self.on_device("back");
      must(load_version(pool, "x", 0, back));
      STRATA_CHECK(bytes_of(back) == pattern(3));
    }
    return true;
  }));
}

TEST_CASE_METHOD(World, "only_blocks_that_changed_are_written_again") {
  CHECK(child_says([&] {
    Process self(*this);
    Segment segment = self.on_device("x", 1);
    for (int i = 0; i < 2; ++i)
      must(checkpoint(segment, pool, "x", {.keep_versions = 1}));
    must(checkpoint(segment, pool, "x", {.keep_versions = 1}));
    const std::byte changed{0x5a};
    must(segment.write(MiB(7) + 5, {&changed, 1}));
    const auto report = must(checkpoint(segment, pool, "x", {.keep_versions = 1}));
    auto wanted = pattern(1);
    wanted[MiB(7) + 5] = changed;
    return report.is_incremental && report.blocks_written == 1 && content() == wanted;
  }));
}

TEST_CASE_METHOD(World, "the_device_copies_ahead_of_one_thread_that_hashes_and_stores") {
  CHECK(child_says([&] {
    Process self(*this);
    const Segment segment = self.on_device("x", 1);
    const std::uint64_t before = fake_calls("cuMemcpyDtoHAsync");
    std::uint64_t pieces = 0;
    std::uint64_t least_ahead = kPieces;
    must(checkpoint(segment, pool, "x", {.threads = 1, .progress = [&](std::uint64_t) {
                                           pieces += 1;
                                           const std::uint64_t begun =
                                               fake_calls("cuMemcpyDtoHAsync") - before;
                                           if (begun < kPieces)
                                             least_ahead = std::min(least_ahead, begun - pieces);
                                         }}));
    return pieces == kPieces && least_ahead >= 3 &&
           fake_calls("cuMemcpyDtoHAsync") - before == kPieces;
  }));
}

TEST_CASE_METHOD(World, "killed_in_the_middle_the_pool_has_the_version_before") {
  CHECK(child_says([&] {
    Process self(*this);
    must(checkpoint(self.on_device("x", 1), pool, "x"));
    return true;
  }));
  const std::uint64_t before = version();
  for (const std::uint64_t nth : {1, 2, 5, 9, 14}) {
    const int status = in_child([&] {
      Process self(*this);
      const Segment segment = self.on_device("x", 2);
      kill_after_fake_call("cuMemcpyDtoHAsync", nth);
      must(checkpoint(segment, pool, "x", {.threads = 2}));
    });
    CHECK(was_killed(status));
    CHECK(version() == before);
    CHECK(content() == pattern(1));
  }
  CHECK(child_says([&] {
    Process self(*this);
    must(checkpoint(self.on_device("x", 2), pool, "x"));
    return content() == pattern(2);
  }));
}

TEST_CASE_METHOD(World,
                 "whichever_call_of_the_driver_fails_the_pool_has_one_version_or_the_other") {
  CHECK(child_says([&] {
    Process self(*this);
    const Segment old = self.on_device("a", 1);
    const Segment segment = self.on_device("x", 2);
    int failed = 0;
    for (std::uint64_t n = 1;; n += 3) {
      must(checkpoint(old, pool, "x", {.keep_versions = 1}));
      const std::uint64_t before = version();
      const std::uint64_t calls = fake_calls("*");
      fail_fake_call("*", n, cuda::kUnknown);
      const auto made = checkpoint(segment, pool, "x", {.keep_versions = 1, .threads = 1});
      const bool was_reached = fake_calls("*") - calls >= n;
      forget_fake_failures();
      if (!made) {
        failed += 1;
        STRATA_CHECK(made.error().driver_result() == cuda::kUnknown);
        STRATA_CHECK(version() == before && content() == pattern(1));
      } else {
        // The call that failed, if any, only gave something back.
        STRATA_CHECK(content() == pattern(2));
      }
      if (!was_reached) break;
    }
    return failed > 10;
  }));
}

TEST_CASE_METHOD(World, "a_restore_that_fails_says_so_and_the_next_one_is_whole") {
  CHECK(child_says([&] {
    Process self(*this);
    must(checkpoint(self.on_device("a", 1), pool, "x"));
    Segment back = self.on_device("x");
    int failed = 0;
    for (std::uint64_t n = 1;; n += 2) {
      const std::uint64_t calls = fake_calls("*");
      fail_fake_call("*", n, cuda::kUnknown);
      const auto made = load_version(pool, "x", 0, back, {.threads = 1});
      const bool was_reached = fake_calls("*") - calls >= n;
      forget_fake_failures();
      if (!made) failed += 1;
      STRATA_CHECK(made.has_value() != was_reached || bytes_of(back) == pattern(1));
      must(load_version(pool, "x", 0, back));
      STRATA_CHECK(bytes_of(back) == pattern(1));
      if (!was_reached) break;
    }
    return failed > 10;
  }));
}

TEST_CASE_METHOD(World, "a_restore_into_memory_that_is_not_to_be_written_is_refused") {
  CHECK(child_says([&] {
    Process self(*this);
    const Segment segment = self.on_device("x", 1);
    must(checkpoint(segment, pool, "x"));
    Segment reader = must(self.catalog.attach("cuda:x", {.access = Access::read_only}));
    const auto refused = load_version(pool, "x", 0, reader);
    return !refused && refused.error().code() == Code::failed_precondition &&
           bytes_of(segment) == pattern(1);
  }));
}

TEST_CASE_METHOD(World, "copy_fills_device_memory_from_every_kind_of_source") {
  CHECK(child_says([&] {
    Process self(*this);
    const auto wanted = pattern(4);
    SpanSource memory(wanted);
    Segment one = self.on_device("a");
    must(copy(memory, one));
    STRATA_CHECK(bytes_of(one) == wanted);
    SegmentSource device(one);
    Segment two = self.on_device("b");
    must(copy(device, two));
    STRATA_CHECK(bytes_of(two) == wanted);
    SegmentSource again(two);
    must(copy(self.catalog, again, "shm:c"));
    STRATA_CHECK(bytes_of(must(self.catalog.attach("shm:c"))) == wanted);
    SegmentSource once_more(two);
    must(copy(self.catalog, once_more, "pmem:" + pool.path() + "#live"));
    return bytes_of(must(self.catalog.attach("pmem:" + pool.path() + "#live"))) == wanted;
  }));
}
