// What a check says of a pool: sound, damaged, busy or unknown, and nothing that it has not proved.
#include "pmem/pool_check.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "pmem/device_state.h"
#include "pmem/object_pool.h"
#include "pmem/pool_testing.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/persistent.h"
#include "tests/catch.h"
#include "tests/no_more_processes.h"
#include "tests/skip.h"

using namespace strata;
using strata::test::in_child;
using strata::test::make_pool;
using strata::test::rewrite_directory;
using strata::test::TempDir;

namespace {

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void put_bytes(const std::string& path, std::uint64_t at, std::string_view bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(at));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

template <typename T>
void put_word(const std::string& path, std::uint64_t at, T word) {
  put_bytes(path, at, std::string_view(reinterpret_cast<const char*>(&word), sizeof word));
}

Pool pool_with_versions(Os& os, const std::string& path) {
  Pool pool = make_pool(os, path);
  const std::vector<std::byte> content(200'000, std::byte{7});
  REQUIRE(checkpoint(content, pool, "m"));
  REQUIRE(checkpoint(content, pool, "m"));
  return pool;
}

CheckReport check(const std::string& path, const CheckOptions& options = {}) {
  RealOs os;
  return check_pool(os, path, options).value();
}

std::string text_of(const CheckReport& report) {
  std::string text;
  for (const CheckItem& item : report.items) {
    text += item.what + " " + std::string(outcome_name(item.outcome)) + ": " + item.detail + "\n";
  }
  return text;
}

// In a child that can be changed for good: what it says, as the child's exit status.
int verdict_in_child(const std::string& path, const std::function<bool()>& prepare) {
  const int status = in_child([&] {
    if (!prepare()) return 100;
    return static_cast<int>(check(path).verdict());
  });
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int code_of(CheckOutcome outcome) { return static_cast<int>(outcome); }

}  // namespace

TEST_CASE("a_pool_that_stays_held_is_busy_and_its_holder_is_named") {
  RealOs os;
  const TempDir dir;
  const Pool pool = pool_with_versions(os, dir / "p");
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t holder = strata::test::start_child([&] {
    RealOs child_os;
    const auto held =
        ObjectPool::open(child_os, pool.path(), kPoolLayoutName, Deadline::after_ms(60'000));
    (void)!write(ends[1], held ? "y" : "n", 1);
    pause();
  });
  char answer = 0;
  REQUIRE(read(ends[0], &answer, 1) == 1);
  REQUIRE(answer == 'y');
  const CheckReport held = check(pool.path(), {.lock_timeout_ms = 50});
  INFO(text_of(held));
  CHECK(held.verdict() == CheckOutcome::busy);
  CHECK(text_of(held).find(std::to_string(holder)) != std::string::npos);
  kill(holder, SIGKILL);
  strata::test::wait_for(holder);
  const CheckReport free = check(pool.path());
  INFO(text_of(free));
  CHECK(free.verdict() == CheckOutcome::sound);
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("without_processes_a_check_says_unknown_of_a_sound_pool_and_never_sound_of_another") {
  RealOs os;
  const TempDir dir;
  const Pool pool = pool_with_versions(os, dir / "p");
  const int sound = verdict_in_child(pool.path(), strata::test::forbid_processes);
  if (sound == 100) SKIP_TEST("the kernel does not take a filter of system calls");
  CHECK(sound == code_of(CheckOutcome::unknown));
  put_bytes(pool.path(), 0x2108, "bd");
  const int damaged = verdict_in_child(pool.path(), strata::test::forbid_processes);
  CHECK(damaged > code_of(CheckOutcome::gone));
  CHECK(damaged <= code_of(CheckOutcome::damaged));
}

TEST_CASE("a_program_that_ignores_its_children_is_told_the_same") {
  RealOs os;
  const TempDir dir;
  const Pool pool = pool_with_versions(os, dir / "p");
  const auto ignore = [] { return ::signal(SIGCHLD, SIG_IGN) != SIG_ERR; };
  CHECK(verdict_in_child(pool.path(), ignore) == code_of(CheckOutcome::sound));
  // In a lane's log: libpmemobj dies of it when it opens the pool.
  const Pool small = make_pool(os, dir / "small", MiB(8));
  const std::string byte(1, static_cast<char>(bytes_of(small.path())[2'220'302] ^ 84));
  put_bytes(small.path(), 2'220'302, byte);
  CHECK(verdict_in_child(small.path(), ignore) == code_of(CheckOutcome::damaged));
}

TEST_CASE("a_check_needs_no_right_to_write_and_without_the_right_to_read_it_is_unknown") {
  if (geteuid() != 0) SKIP_TEST("only root can become a user who may not write");
  RealOs os;
  const TempDir dir;
  const Pool pool = pool_with_versions(os, dir / "p");
  for (std::filesystem::path at = std::filesystem::path(pool.path()).parent_path();
       at != "/" && at != "/tmp"; at = at.parent_path()) {
    std::error_code ignored;
    std::filesystem::permissions(at, std::filesystem::perms::others_exec,
                                 std::filesystem::perm_options::add, ignored);
  }
  const auto as_nobody = [] { return setgid(65534) == 0 && setuid(65534) == 0; };
  REQUIRE(chmod(pool.path().c_str(), 0644) == 0);
  const auto can_see =
      in_child([&] { return as_nobody() && access(pool.path().c_str(), R_OK) == 0 ? 0 : 1; });
  if (can_see != 0) SKIP_TEST("another user cannot reach " << pool.path());
  CHECK(verdict_in_child(pool.path(), as_nobody) == code_of(CheckOutcome::sound));
  REQUIRE(chmod(pool.path().c_str(), 0600) == 0);
  CHECK(verdict_in_child(pool.path(), as_nobody) == code_of(CheckOutcome::unknown));
}

TEST_CASE("settings_for_libpmemobj_do_not_make_a_pool_damaged") {
  RealOs os;
  const TempDir dir;
  const Pool pool = pool_with_versions(os, dir / "p");
  const auto set = [] { return setenv("PMEMOBJ_CONF", "bogus=1;", 1) == 0; };
  CHECK(verdict_in_child(pool.path(), set) == code_of(CheckOutcome::sound));
}

TEST_CASE("objects_that_are_no_segments_are_counted_by_type") {
  RealOs os;
  const TempDir dir;
  const Pool pool = pool_with_versions(os, dir / "p");
  CHECK(check(pool.path()).other_objects.empty());
  REQUIRE(pool.make_user_root(4096));
  {
    auto own =
        ObjectPool::open(os, pool.path(), kPoolLayoutName, Deadline::after_ms(10'000)).value();
    REQUIRE(own.begin());
    for (int i = 0; i < 3; ++i)
      REQUIRE(own.allocate(1000, 42));
    own.commit();
  }
  const CheckReport report = check(pool.path());
  INFO(text_of(report));
  CHECK(report.verdict() == CheckOutcome::sound);
  REQUIRE(report.other_objects.kinds.size() == 2);
  CHECK(report.other_objects.kinds[0].type == 42);
  CHECK(report.other_objects.kinds[0].count == 3);
  CHECK(report.other_objects.kinds[0].bytes >= 3000);
  CHECK(report.other_objects.kinds[1].type == kUserRootObjectType);
}

TEST_CASE("a_pool_whose_last_zone_overflows_is_named_and_not_sound") {
  RealOs os;
  const TempDir dir;
  const Pool pool = pool_with_versions(os, dir / "p");
  constexpr std::uint64_t kUnsafeBytes = 17'181'716'480;
  if (truncate(pool.path().c_str(), kUnsafeBytes) != 0) SKIP_TEST("no sparse files of 16 GiB here");
  put_word<std::uint64_t>(pool.path(), kObjHeapSizeAt, kUnsafeBytes - 3'153'920);
  const CheckReport report = check(pool.path());
  INFO(text_of(report));
  CHECK(report.verdict() == CheckOutcome::damaged);
  CHECK(text_of(report).find("do not fill it") != std::string::npos);
}

TEST_CASE("a_pool_that_was_open_when_its_device_failed_is_damaged_as_libpmemobj_says") {
  RealOs os;
  const TempDir dir;
  const Pool pool = pool_with_versions(os, dir / "p");
  struct {
    std::uint64_t unsafe_shutdowns = 7, device = 0, is_dirty = 1, reserved[4] = {}, checksum = 0;
  } state;
  static_assert(sizeof state == kObjDeviceStateBytes);
  // Fletcher64 of words of which only the first and the fifth are not zero.
  state.checksum = std::uint64_t{7 * 16 + 12} << 32 | 8;
  put_word(pool.path(), kObjDeviceStateAt, state);
  const CheckReport report = check(pool.path());
  INFO(text_of(report));
  CHECK(report.verdict() == CheckOutcome::damaged);
  CHECK(text_of(report).find("7 times up to then, 0 now") != std::string::npos);
  CHECK(ObjectPool::open(os, pool.path(), kPoolLayoutName, Deadline::after_ms(0)).error().code() ==
        Code::corrupt);
}

TEST_CASE("a_pool_of_a_later_program_is_unknown_and_one_for_readers_only_is_sound") {
  RealOs os;
  const TempDir dir;
  const Pool pool = pool_with_versions(os, dir / "p");
  const auto text_with = [&](CheckOutcome verdict, const auto& change) {
    rewrite_directory(os, pool.path(), change);
    const CheckReport report = check(pool.path());
    INFO(text_of(report));
    CHECK(report.verdict() == verdict);
    return text_of(report);
  };
  const std::string readable = text_with(
      CheckOutcome::sound, [](DirectoryHeader& header) { header.features_read_only = 0x40; });
  CHECK(readable.find("read-only features 0x40 are unknown") != std::string::npos);
  CHECK(inspect(os, pool.path()).value().unknown_read_only_features == 0x40);
  const std::string required = text_with(
      CheckOutcome::unknown, [](DirectoryHeader& header) { header.features_required = 0x80; });
  CHECK(required.find("required features 0x80 are unknown") != std::string::npos);
  CHECK(inspect(os, pool.path()).value().problem_code == Code::unsupported);
  const std::string later =
      text_with(CheckOutcome::unknown, [](DirectoryHeader& header) { header.version_major = 7; });
  CHECK(later.find("version 7.0") != std::string::npos);
}

TEST_CASE("an_interrupted_change_is_recovered_in_the_copy_and_nothing_changes_in_the_pool") {
  RealOs os;
  const TempDir dir;
  const Pool pool = pool_with_versions(os, dir / "p");
  const PoolFile file = PoolFile::open(os, pool.path(), Access::read_only).value();
  const std::uint64_t at = file.directory_offset_bytes + offsetof(DirectoryHead, sequence);
  const std::uint64_t sequence = file.read_head().value().sequence.value;
  put_word<std::uint64_t>(pool.path(), at, sequence + 1);
  const std::string before = bytes_of(pool.path());
  const CheckReport report = check(pool.path());
  INFO(text_of(report));
  CHECK(report.is_interrupted);
  CHECK(report.verdict() == CheckOutcome::sound);
  CHECK(report.segments_checked == 2);
  CHECK(report.blocks_verified == 8);
  CHECK(bytes_of(pool.path()) == before);
}

TEST_CASE("a_check_changes_no_byte_of_a_pool_sound_or_damaged") {
  RealOs os;
  const TempDir dir;
  const Pool pool = pool_with_versions(os, dir / "p");
  const PoolFile file = PoolFile::open(os, pool.path(), Access::read_only).value();
  for (const std::uint64_t at :
       {std::uint64_t{0}, std::uint64_t{0x2108}, std::uint64_t{4096},
        file.directory_offset_bytes + 200, file.directory_offset_bytes + 300}) {
    const std::string before = bytes_of(pool.path());
    const CheckReport report = check(pool.path());
    INFO(text_of(report));
    CHECK(bytes_of(pool.path()) == before);
    put_word<std::uint16_t>(pool.path(), at, 0x6462);
  }
  CHECK(check(pool.path()).verdict() == CheckOutcome::damaged);
}

TEST_CASE("a_pool_whose_first_pages_are_damaged_is_still_told_to_be_one") {
  RealOs os;
  const TempDir dir;
  const Pool pool = pool_with_versions(os, dir / "p");
  const std::string good = bytes_of(pool.path());
  const auto damaged = [&](std::uint64_t at, std::string_view bytes, const std::string& why) {
    put_bytes(pool.path(), 0, good);
    put_bytes(pool.path(), at, bytes);
    INFO("bytes at " << at);
    const PoolInfo info = inspect(os, pool.path()).value();
    CHECK(info.kind == "strata");
    CHECK(info.problem.find(why) != std::string::npos);
    const CheckReport report = check(pool.path());
    INFO(text_of(report));
    CHECK(report.verdict() == CheckOutcome::damaged);
  };
  damaged(0, "nothing!", "signature");
  damaged(0, std::string(4096, '\0'), "signature");
  damaged(kObjLayoutAt, "sprata", "layout");
  damaged(kObjRootOffsetAt, std::string(8, '\0'), "leads to its directory");
  put_bytes(pool.path(), 0, good);
  std::filesystem::resize_file(pool.path(), MiB(10));
  CHECK(inspect(os, pool.path()).value().problem.find("truncated: 6291456 of its 16777216") !=
        std::string::npos);
  CHECK(check(pool.path()).verdict() == CheckOutcome::damaged);
}

TEST_CASE("what_is_no_strata_pool_is_neither_sound_nor_damaged") {
  RealOs os;
  const TempDir dir;
  std::ofstream(dir / "text") << std::string(100'000, 'x');
  CHECK(check(dir / "text").verdict() == CheckOutcome::unknown);
  std::ofstream(dir / "empty");
  CHECK(check(dir / "empty").verdict() == CheckOutcome::unknown);
  REQUIRE(mkfifo((dir / "pipe").c_str(), 0600) == 0);
  CHECK(check(dir / "pipe").verdict() == CheckOutcome::unknown);
  CHECK(check_pool(os, dir / "none").error().code() == Code::not_found);
  { REQUIRE(ObjectPool::create(os, dir / "bare", kPoolLayoutName, MiB(8), 0600)); }
  const auto bare = check_pool(os, dir / "bare");
  REQUIRE(!bare);
  CHECK(bare.error().code() == Code::unsupported);
  CHECK(bare.error().message().find("empty libpmemobj pool") != std::string::npos);
}
