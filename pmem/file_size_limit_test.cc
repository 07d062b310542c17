// Pools under a limit on the size of files (ulimit -f).
#include <sys/resource.h>

#include <filesystem>

#include "pmem/export_file.h"
#include "pmem/pool_testing.h"
#include "strata/pmem/backup.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/persistent.h"
#include "strata/pmem/snapshot.h"
#include "tests/catch.h"

using namespace strata;
using strata::test::in_child;
using strata::test::make_pool;
using strata::test::TempDir;

namespace {

constexpr std::size_t kLimit = std::size_t{1} << 20;

enum : int { kRight, kNoLimit, kDone, kOtherCode, kLimitNotNamed };

template <typename Operate>
int under_the_limit(Operate operate) {
  const int status = in_child([&] {
    const rlimit limit{kLimit, kLimit};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return static_cast<int>(kNoLimit);
    RealOs os;
    const auto done = operate(os);
    if (done) return static_cast<int>(kDone);
    if (done.error().code() != Code::exhausted) return static_cast<int>(kOtherCode);
    const bool is_named = done.error().message().find("ulimit -f) is 1 MiB") != std::string::npos;
    return static_cast<int>(is_named ? kRight : kLimitNotNamed);
  });
  INFO("wait status " << status);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

std::size_t file_count(const TempDir& dir) {
  const std::filesystem::directory_iterator begin(dir.path());
  return static_cast<std::size_t>(std::distance(begin, {}));
}

}  // namespace

TEST_CASE("what_makes_a_file_too_long_is_exhausted_and_leaves_none_behind") {
  RealOs real;
  const TempDir dir("/dev/shm");
  const Pool pool = make_pool(real, dir / "p", MiB(16));
  REQUIRE(checkpoint(std::vector<std::byte>(MiB(4), std::byte{1}), pool, "m"));
  REQUIRE(backup_pool(pool, dir / "backup"));
  const std::size_t files = file_count(dir);
  CHECK(under_the_limit([&](Os& os) { return Pool::create(os, dir / "new", {.bytes = MiB(8)}); }) ==
        kRight);
  CHECK(under_the_limit([&](Os& os) {
          return pmem::pool<int>::create(os, dir / "own", "own", MiB(8));
        }) == kRight);
  CHECK(under_the_limit([&](Os& os) {
          return export_file(Pool::at(os, pool.path()), "m", 0, dir / "m.bin");
        }) == kRight);
  CHECK(under_the_limit([&](Os& os) {
          return backup_pool(Pool::at(os, pool.path()), dir / "backup2");
        }) == kRight);
  CHECK(under_the_limit(
            [&](Os& os) { return restore_pool(os, dir / "backup", dir / "restored"); }) == kRight);
  CHECK(under_the_limit([&](Os& os) {
          return snapshot_pool(Pool::at(os, pool.path()), dir / "snapshot");
        }) == kRight);
  CHECK(under_the_limit([&](Os& os) { return grow_pool(Pool::at(os, pool.path()), MiB(32)); }) ==
        kRight);
  CHECK(file_count(dir) == files);
}

// The limit is on where a file may be written, however long it is already.
TEST_CASE("a_version_that_lies_beyond_the_limit_is_exhausted_and_not_there") {
  RealOs real;
  const TempDir dir("/dev/shm");
  const Pool pool = make_pool(real, dir / "p", MiB(16));
  CHECK(under_the_limit([&](Os& os) {
          return checkpoint(std::vector<std::byte>(MiB(2)), Pool::at(os, pool.path()), "m");
        }) == kRight);
  CHECK(pool.look_up("m", Deadline::after_ms(60'000)).error().code() == Code::not_found);
  CHECK(checkpoint(std::vector<std::byte>(MiB(2)), pool, "m"));
}
