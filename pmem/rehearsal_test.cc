// What a rehearsal proves, and that without one nothing is changed.
#include "pmem/rehearsal.h"

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <sstream>
#include <thread>

#include "os/fault_os.h"
#include "pmem/lane_logs.h"
#include "pmem/object_pool.h"
#include "pmem/pmem_backend.h"
#include "pmem/pool_format.h"
#include "pmem/pool_testing.h"
#include "strata/pmem/checkpoint.h"
#include "tests/catch.h"
#include "tests/no_more_processes.h"
#include "tests/skip.h"
#include "tests/thorough.h"
#include "tests/verified.h"

using namespace strata;
using strata::test::in_child;
using strata::test::make_pool;
using strata::test::TempDir;

namespace {

// Where libpmemobj 1.12 has the logs of its first lane, the only one that a change uses.
constexpr std::uint64_t kFirstLane = 8192;
// In the link to the next log for commits: SIGSEGV in the first commit of more than one word.
constexpr std::uint64_t kKillsAtCommit = 0x2108;
// In a lane's log, of a pool of 8 MiB: a circle of logs, along which libpmemobj's open goes on and
// on.
constexpr std::uint64_t kSpins = 1'022'279;

Deadline in_a_minute() { return Deadline::after_ms(60'000); }

void overwrite(const std::string& path, std::uint64_t at, std::string_view bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(at));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void flip(const std::string& path, std::uint64_t at, unsigned mask) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const char byte = static_cast<char>(static_cast<unsigned>(file.get()) ^ mask);
  overwrite(path, at, {&byte, 1});
}

std::vector<std::byte> some_bytes() { return std::vector<std::byte>(70'000, std::byte{1}); }

// A copy: the pool that this process has made needs no rehearsal.
std::string sample_pool(Os& os, const TempDir& dir, std::uint64_t bytes = MiB(8)) {
  const Pool pool = make_pool(os, dir / "made", bytes);
  REQUIRE(checkpoint(some_bytes(), pool, "m"));
  REQUIRE(checkpoint(some_bytes(), pool, "x"));
  std::filesystem::copy_file(pool.path(), dir / "sample");
  return dir / "sample";
}

constexpr int kDone = 100;  // as an exit status: beyond each code

int as_exit_status(const Result<void>& outcome) {
  return outcome ? kDone : static_cast<int>(outcome.error().code());
}

// Each in a process of its own, which trusts nothing yet.
std::vector<std::function<int(const std::string& path)>> changes() {
  return {
      [](const std::string& path) {
        RealOs os;
        const auto made = checkpoint(some_bytes(), Pool::at(os, path), "new", {.threads = 1});
        return made ? kDone : static_cast<int>(made.error().code());
      },
      [](const std::string& path) {
        RealOs os;
        return as_exit_status(Pool::at(os, path).remove({.name = "x"}));
      },
      [](const std::string& path) {
        RealOs os;
        const auto made = PmemBackend(os).create({"pmem", path, "c"}, {.payload_bytes = 5000});
        return made ? kDone : static_cast<int>(made.error().code());
      },
  };
}

std::string content_of(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

}  // namespace

TEST_CASE("damage_that_only_a_commit_meets_refuses_every_change_and_ends_no_process") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string damaged = sample_pool(os, dir, MiB(64));
  overwrite(damaged, kKillsAtCommit, "bd");
  for (const auto& change : changes()) {
    const int status = in_child([&] { return change(damaged); });
    INFO("wait status " << status);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == static_cast<int>(Code::corrupt));
  }
}

TEST_CASE("no_damage_in_the_logs_that_a_change_uses_ends_the_process") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string sample = sample_pool(os, dir);
  std::mt19937 random(20260728);
  INFO("seed 20260728");
  const auto each_change = changes();
  std::uint64_t tries = 0, refused = 0;
  for (std::uint64_t at = kFirstLane; at < kFirstLane + kLaneBytes; at += 5) {
    // The heads of the three logs byte by byte, their content here and there.
    const std::uint64_t in_lane = at - kFirstLane;
    const bool is_head = in_lane % 256 < 64 && in_lane < 1024;
    if (!is_head && in_lane % 55 != 0) continue;
    std::filesystem::copy_file(sample, dir / "p",
                               std::filesystem::copy_options::overwrite_existing);
    const unsigned mask = 1 + random() % 255;
    flip(dir / "p", at, mask);
    flip(dir / "p", at + 1, mask);
    const int status = in_child([&] { return each_change[tries % each_change.size()](dir / "p"); });
    INFO("bytes " << at << " and the next, mask " << mask << ", wait status " << status);
    REQUIRE(WIFEXITED(status));
    refused += WEXITSTATUS(status) == kDone ? 0 : 1;
    ++tries;
  }
  CHECK(tries > 100);
  CHECK(refused > 0);
  report_verified(tries, "flipped bytes in pools");
}

// From one byte to some words, mostly where libpmemobj keeps what it believes.
void damage_at_random(const std::string& path, std::mt19937& random) {
  const auto below = [&](std::uint64_t end) { return random() % end; };
  const std::uint64_t heap = kFirstLane + 1024 * kLaneBytes;
  for (std::uint64_t i = 1 + below(3); i > 0; --i) {
    const std::uint64_t places[] = {kFirstLane + below(kLaneBytes),
                                    kFirstLane + below(1024 * kLaneBytes),
                                    heap + below(2048),
                                    4096 + below(4096),
                                    heap + 1088 + 65528 * 8 + below(8) * KiB(256) + below(256),
                                    below(MiB(8))};
    std::string bytes(1 + below(8), '\0');
    for (char& byte : bytes)
      byte = static_cast<char>(random());
    overwrite(path, places[below(6)], bytes);
  }
}

TEST_CASE("no_damage_at_random_ends_a_process_that_changes_the_pool") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string sample = sample_pool(os, dir);
  const char* const asked = std::getenv("STRATA_SEED");
  const unsigned seed = asked == nullptr ? 1 : static_cast<unsigned>(std::atoi(asked));
  std::mt19937 random(seed);
  const std::uint64_t kPools = 120 / test::one_in(3);
  std::uint64_t refused = 0;
  const auto each_change = changes();
  for (std::uint64_t i = 0; i < kPools; ++i) {
    std::filesystem::copy_file(sample, dir / "damaged",
                               std::filesystem::copy_options::overwrite_existing);
    damage_at_random(dir / "damaged", random);
    for (const auto& change : each_change) {
      std::filesystem::copy_file(dir / "damaged", dir / "p",
                                 std::filesystem::copy_options::overwrite_existing);
      const int status = in_child([&] { return change(dir / "p"); });
      INFO("seed " << seed << ", pool " << i << ", wait status " << status);
      REQUIRE(WIFEXITED(status));
      refused += WEXITSTATUS(status) == kDone ? 0 : 1;
    }
  }
  CHECK(refused > 0);
  report_verified(kPools, "pools damaged at random");
}

TEST_CASE("a_heap_in_which_libpmemobj_computes_without_end_refuses_the_change") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string damaged = dir / "p";
  std::filesystem::copy_file(make_pool(os, dir / "made", MiB(8)).path(), damaged);
  flip(damaged, kSpins, 0x8c);
  const int status = in_child([&] { return changes()[0](damaged); });
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == static_cast<int>(Code::failed_precondition));
}

TEST_CASE("damage_is_found_also_where_sigchld_is_ignored") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string damaged = sample_pool(os, dir, MiB(64));
  overwrite(damaged, kKillsAtCommit, "bd");
  const int status = in_child([&] {
    std::signal(SIGCHLD, SIG_IGN);
    return changes()[0](damaged);
  });
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == static_cast<int>(Code::corrupt));
}

TEST_CASE("where_there_can_be_no_child_nothing_is_changed") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string path = sample_pool(os, dir);
  const std::string before = content_of(path);
  constexpr int kNoFilter = 101;
  for (const auto& change : changes()) {
    const int status =
        in_child([&] { return test::forbid_processes() ? change(path) : kNoFilter; });
    REQUIRE(WIFEXITED(status));
    if (WEXITSTATUS(status) == kNoFilter) SKIP_TEST("the kernel takes no seccomp filter");
    CHECK(WEXITSTATUS(status) == static_cast<int>(Code::exhausted));
  }
  CHECK((content_of(path) == before));
}

TEST_CASE("a_system_call_that_fails_before_the_rehearsal_is_no_leave_to_change") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string path = sample_pool(os, dir);
  const int status = in_child([&] {
    FaultOs failing;
    failing.only("statx");
    failing.fail_at(1, EIO, 100);
    return as_exit_status(rehearse_first_change(failing, path, kPoolLayoutName, in_a_minute()));
  });
  CHECK(WEXITSTATUS(status) != kDone);
}

TEST_CASE("a_pool_that_is_held_is_waited_for_and_then_rehearsed") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string path = sample_pool(os, dir, MiB(64));
  int held[2], go[2];
  REQUIRE(::pipe(held) == 0);
  REQUIRE(::pipe(go) == 0);
  const pid_t holder = test::start_child([&] {
    RealOs child_os;
    auto pool = ObjectPool::open(child_os, path, kPoolLayoutName, in_a_minute());
    if (!pool || ::write(held[1], "h", 1) != 1) return 1;
    char word = 0;
    return ::read(go[0], &word, 1) == 1 ? 0 : 1;
  });
  char word = 0;
  REQUIRE(::read(held[0], &word, 1) == 1);
  const auto refused = rehearse_change(os, path, kPoolLayoutName, Deadline::after_ms(0));
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::timed_out);
  CHECK(refused.error().message().find("held by pid " + std::to_string(holder)) !=
        std::string::npos);
  // What it finds once the pool is free counts, and not what it could have found before.
  overwrite(path, kKillsAtCommit, "bd");
  Result<void> rehearsed;
  std::thread waiting(
      [&] { rehearsed = rehearse_change(os, path, kPoolLayoutName, Deadline::after_ms(600'000)); });
  REQUIRE(::write(go[1], "g", 1) == 1);
  waiting.join();
  test::wait_for(holder);
  REQUIRE(!rehearsed);
  CHECK(rehearsed.error().code() == Code::corrupt);
}

TEST_CASE("a_pool_that_was_overwritten_in_place_is_rehearsed_again") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string path = sample_pool(os, dir);
  const std::string earlier = content_of(path);
  REQUIRE(checkpoint(some_bytes(), Pool::at(os, path), "later"));
  REQUIRE(rehearse_first_change(os, path, kPoolLayoutName, in_a_minute()));
  // What has only more changes is trusted, damaged or not: this is what cannot be seen.
  overwrite(path, kKillsAtCommit, "bd");
  CHECK(rehearse_first_change(os, path, kPoolLayoutName, in_a_minute()));
  overwrite(path, 0, earlier);
  overwrite(path, kKillsAtCommit, "bd");
  const auto again = rehearse_first_change(os, path, kPoolLayoutName, in_a_minute());
  REQUIRE(!again);
  CHECK(again.error().code() == Code::corrupt);
}

// Of 32-bit words, as libpmemobj's redo logs have it.
std::uint64_t fletcher64(std::span<const std::uint64_t> log) {
  std::uint32_t low = 0, high = 0;
  for (const std::uint64_t word : log) {
    high += low += static_cast<std::uint32_t>(word);
    high += low += static_cast<std::uint32_t>(word >> 32);
  }
  return std::uint64_t{high} << 32 | low;
}

// As a process leaves it that is killed while it gives back the log by which it had extended its
// undo log: the redo log that takes away the link is written, and not yet carried out.
void leave_a_log_half_given_back(const std::string& path) {
  const int status = in_child([&] {
    RealOs os;
    auto pool = ObjectPool::open(os, path, kPoolLayoutName, in_a_minute());
    if (!pool || !pool->begin()) return 1;
    auto root = pool->root(pool->root_bytes());
    if (!root || !pool->snapshot(*root, KiB(32))) return 1;
    pool->commit();
    _exit(kDone);  // not closed, which would give it back
  });
  REQUIRE(WEXITSTATUS(status) == kDone);
  RealOs os;
  REQUIRE(is_any_extended(undo_logs_in_file(os, path).value()));
  const std::uint64_t link = kFirstLane + kUndoLogAt + offsetof(LogHead, next);
  std::array<std::uint64_t, 12> redo{0, 0, 64, 0, 0, 0, 0, 0, link, 0, link, 0};
  redo[0] = fletcher64(redo);
  overwrite(path, kFirstLane + kInternalLogAt,
            {reinterpret_cast<const char*>(redo.data()), sizeof redo});
}

TEST_CASE("a_pool_whose_changer_was_killed_at_the_end_of_a_change_is_changed_by_the_next") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string path = sample_pool(os, dir);
  for (const auto& change : changes()) {
    leave_a_log_half_given_back(path);
    const int status = in_child([&] { return change(path); });
    INFO("wait status " << status);
    CHECK(WEXITSTATUS(status) == kDone);
    CHECK(!is_any_extended(undo_logs_in_file(os, path).value()));
  }
}

TEST_CASE("a_process_that_trusts_a_pool_changes_it_after_another_was_killed_in_a_change") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string path = sample_pool(os, dir);
  REQUIRE(checkpoint(some_bytes(), Pool::at(os, path), "mine"));  // trusted from here on
  leave_a_log_half_given_back(path);
  auto pool = ObjectPool::open_to_change(os, path, kPoolLayoutName, in_a_minute());
  REQUIRE(pool);
  REQUIRE(pool->begin());
  CHECK(pool->snapshot(pool->root(pool->root_bytes()).value(), KiB(16)));
  pool->commit();
}

TEST_CASE("a_log_that_is_half_given_back_is_no_damage") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string path = sample_pool(os, dir);
  leave_a_log_half_given_back(path);
  const std::string before = content_of(path);
  CHECK(rehearse_change(os, path, kPoolLayoutName));
  CHECK((content_of(path) == before));
}

TEST_CASE("nothing_of_a_rehearsal_reaches_the_file") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string path = sample_pool(os, dir);
  const std::string before = content_of(path);
  REQUIRE(rehearse_change(os, path, kPoolLayoutName));
  CHECK((content_of(path) == before));
}

TEST_CASE("a_full_pool_and_one_of_a_program_of_its_own_rehearse_well") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const Pool full = make_pool(os, dir / "full", MiB(8));
  for (int i = 0; PmemBackend(os).create({"pmem", full.path(), "s" + std::to_string(i)},
                                         {.payload_bytes = KiB(100)});
       ++i) {
  }
  CHECK(rehearse_change(os, full.path(), kPoolLayoutName));
  { REQUIRE(ObjectPool::create(os, dir / "own", "own", MiB(8), 0600)); }
  CHECK(rehearse_change(os, dir / "own", "own"));
}

TEST_CASE("a_rehearsal_does_not_hang_on_what_other_threads_of_the_process_are_opening") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string path = sample_pool(os, dir);
  std::atomic<bool> is_over{false};
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i) {
    const std::string other = make_pool(os, dir / ("other" + std::to_string(i)), MiB(8)).path();
    others.emplace_back([&os, &is_over, other] {
      while (!is_over.load())
        (void)ObjectPool::open(os, other, kPoolLayoutName, in_a_minute());
    });
  }
  for (int i = 0; i < 20; ++i)
    CHECK(rehearse_change(os, path, kPoolLayoutName));
  is_over.store(true);
  for (std::thread& other : others)
    other.join();
}
