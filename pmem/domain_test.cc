#include "pmem/domain.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "os/fault_os.h"
#include "pmem/pool_testing.h"
#include "tests/catch.h"
#include "tests/skip.h"

using namespace strata;
using strata::test::TempDir;

namespace {

Fd make_file(Os& os, const std::string& path, std::uint64_t bytes) {
  Fd fd = os.open(path, O_RDWR | O_CREAT, 0600).value();
  REQUIRE(os.fallocate(fd.get(), 0, 0, bytes));
  return fd;
}

}  // namespace

TEST_CASE("what_is_persisted_in_a_range_is_in_the_file") {
  RealOs os;
  const TempDir dir;
  const Fd fd = make_file(os, dir / "file", MiB(1));
  {
    auto domain = Domain::map(os, fd.get(), {.offset_bytes = KiB(12), .bytes = KiB(8)});
    REQUIRE(domain);
    REQUIRE((*domain)->bytes().size() == KiB(8));
    std::memcpy((*domain)->bytes().data() + 100, "survives", 8);
    CHECK((*domain)->persist((*domain)->bytes().data() + 100, 8));
    CHECK((*domain)->deep_flush((*domain)->bytes().data(), KiB(8)));
    CHECK_FALSE((*domain)->is_volatile());
  }
  std::array<std::byte, 8> read{};
  REQUIRE(os.pread(fd.get(), read, KiB(12) + 100));
  CHECK(std::memcmp(read.data(), "survives", 8) == 0);
}

TEST_CASE("a_caller_who_needs_cache_lines_is_refused_an_ordinary_file") {
  RealOs os;
  const TempDir dir;
  const Fd fd = make_file(os, dir / "file", MiB(1));
  const auto domain =
      Domain::map(os, fd.get(), {.bytes = KiB(4), .worst_granularity = Granularity::cache_line});
  REQUIRE(!domain);
  CHECK(domain.error().code() == Code::unsupported);
  CHECK(domain.error().message().find("cache line") != std::string::npos);
  CHECK(Domain::map(os, fd.get(), {.bytes = KiB(4)}).value()->granularity() == Granularity::page);
}

TEST_CASE("on_dax_a_domain_works_by_cache_lines") {
  RealOs os;
  const TempDir dir;
  const Fd fd = make_file(os, dir / "file", MiB(1));
  struct statx facts {};
  REQUIRE(::statx(fd.get(), "", AT_EMPTY_PATH, STATX_BASIC_STATS, &facts) == 0);
  if ((facts.stx_attributes & STATX_ATTR_DAX) == 0) SKIP_TEST("/tmp is not on DAX");
  // The second asks libpmem2 nothing any more.
  for (const std::uint64_t offset_bytes : {KiB(8), KiB(64)}) {
    auto domain = Domain::map(os, fd.get(),
                              {.offset_bytes = offset_bytes,
                               .bytes = KiB(12),
                               .worst_granularity = Granularity::cache_line});
    REQUIRE(domain);
    CHECK((*domain)->granularity() == Granularity::cache_line);
    (*domain)->bytes()[70] = std::byte{7};
    CHECK((*domain)->persist((*domain)->bytes().data() + 70, 1));
    CHECK((*domain)->deep_flush((*domain)->bytes().data(), KiB(12)));
    std::array<std::byte, 1> read{};
    REQUIRE(os.pread(fd.get(), read, offset_bytes + 70));
    CHECK(read[0] == std::byte{7});
  }
}

TEST_CASE("a_range_off_the_page_or_beyond_the_file_is_refused") {
  RealOs os;
  const TempDir dir;
  const Fd fd = make_file(os, dir / "file", KiB(64));
  const auto code = [&](std::uint64_t offset_bytes, std::uint64_t bytes) {
    return Domain::map(os, fd.get(), {.offset_bytes = offset_bytes, .bytes = bytes}).error().code();
  };
  CHECK(code(100, KiB(4)) == Code::invalid_argument);
  CHECK(code(0, 0) == Code::invalid_argument);
  CHECK(code(KiB(60), KiB(8)) == Code::invalid_argument);
}

TEST_CASE("a_file_that_is_not_a_regular_one_is_refused") {
  RealOs os;
  const Fd fd = os.open("/dev/zero", O_RDWR).value();
  const auto domain = Domain::map(os, fd.get(), {.bytes = KiB(4)});
  REQUIRE(!domain);
  CHECK(domain.error().code() == Code::invalid_argument);
  CHECK(domain.error().message().find("not a regular file") != std::string::npos);
}

TEST_CASE("a_file_that_may_only_be_read_is_not_mapped_for_writing") {
  RealOs os;
  const TempDir dir;
  { make_file(os, dir / "file", KiB(8)); }
  const Fd fd = os.open(dir / "file", O_RDONLY).value();
  CHECK(Domain::map(os, fd.get(), {.bytes = KiB(4)}).error().code() == Code::permission_denied);
  CHECK(Domain::map(os, fd.get(), {.bytes = KiB(4), .access = Access::read_only}));
}

TEST_CASE("a_mapping_that_the_system_refuses_is_reported_at_each_call") {
  FaultOs os;
  const TempDir dir;
  const Fd fd = make_file(os, dir / "file", KiB(8));
  os.only("mmap");
  for (std::uint64_t call = 1;; ++call) {
    os.reset();
    os.fail_at(call, ENOMEM);
    const auto domain = Domain::map(os, fd.get(), {.bytes = KiB(4)});
    if (domain) break;
    CHECK(domain.error().code() == Code::exhausted);
  }
}

TEST_CASE("mapping_leaves_the_working_directory_of_the_process_alone") {
  RealOs os;
  const TempDir dir;
  const Fd fd = make_file(os, dir / "file", KiB(8));
  REQUIRE(Domain::map(os, fd.get(), {.bytes = KiB(4)}));  // on DAX, the first one does not
  const std::string before = os.read_link("/proc/self/cwd").value();
  std::atomic<bool> is_over = false;
  std::atomic<int> moves = 0;
  std::thread watcher([&] {
    while (!is_over)
      moves += os.read_link("/proc/self/cwd").value() == before ? 0 : 1;
  });
  for (int i = 0; i < 2000; ++i)
    REQUIRE(Domain::map(os, fd.get(), {.bytes = KiB(4)}));
  is_over = true;
  watcher.join();
  CHECK(moves == 0);
}

TEST_CASE("a_private_mapping_is_volatile_and_leaves_the_file_alone") {
  RealOs os;
  const TempDir dir;
  { make_file(os, dir / "file", KiB(8)); }
  const Fd fd = os.open(dir / "file", O_RDONLY).value();
  auto domain =
      Domain::map(os, fd.get(), {.bytes = KiB(4), .access = Access::copy_on_write}).value();
  CHECK(domain->is_volatile());
  domain->bytes()[0] = std::byte{7};
  CHECK(domain->persist(domain->bytes().data(), 1));
  std::array<std::byte, 1> read{};
  REQUIRE(os.pread(fd.get(), read, 0));
  CHECK(read[0] == std::byte{0});
}

TEST_CASE("a_drain_at_page_granularity_is_one_msync_however_many_ranges_were_flushed") {
  FaultOs os;
  const TempDir dir;
  const Fd fd = make_file(os, dir / "file", MiB(1));
  auto domain = Domain::map(os, fd.get(), {.bytes = MiB(1)}).value();
  os.reset();
  os.only("msync");
  for (std::size_t i = 0; i < 100; ++i)
    domain->flush(domain->bytes().data() + i * 8192, 8);
  CHECK(domain->drain());
  CHECK(os.calls() == 1);
  CHECK(domain->drain());  // nothing was flushed since
  CHECK(os.calls() == 1);
}

TEST_CASE("a_drain_reports_what_the_medium_refused_and_the_next_one_is_fresh") {
  FaultOs os;
  const TempDir dir;
  const Fd fd = make_file(os, dir / "file", MiB(1));
  auto domain = Domain::map(os, fd.get(), {.bytes = MiB(1)}).value();
  os.only("msync");
  os.fail_at(1, EIO);
  domain->flush(domain->bytes().data(), 8);
  const auto drained = domain->drain();
  REQUIRE(!drained);
  CHECK(drained.error().sys_errno() == EIO);
  CHECK(domain->persist(domain->bytes().data(), 8));
}

TEST_CASE("threads_that_drain_together_share_syncs_and_each_gets_its_own") {
  FaultOs os;
  const TempDir dir;
  const Fd fd = make_file(os, dir / "file", MiB(1));
  auto domain = Domain::map(os, fd.get(), {.bytes = MiB(1)}).value();
  os.reset();
  os.only("msync");
  constexpr int kThreads = 8, kRounds = 50;
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < kRounds; ++round) {
        std::byte* const at = domain->bytes().data() + i * 4096 + round * 8;
        *at = std::byte{1};
        failures += domain->persist(at, 1) ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  CHECK(failures == 0);
  CHECK(os.calls() <= kThreads * kRounds);
  CHECK(os.calls() >= kRounds);
}
