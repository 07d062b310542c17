// Pools that meet bad luck and bad bytes: failing system calls, processes killed at every step
// and at random, flipped and missing bytes, media that cannot be written.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#include <cstring>
#include <random>

#include "os/fault_os.h"
#include "os/run_apart.h"
#include "pmem/pmem_backend.h"
#include "pmem/pool_check.h"
#include "pmem/pool_testing.h"
#include "pmem/verified_reader.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/snapshot.h"
#include "tests/catch.h"
#include "tests/skip.h"
#include "tests/thorough.h"
#include "tests/verified.h"

using namespace strata;
using strata::test::in_child;
using strata::test::make_pool;
using strata::test::TempDir;

namespace {

SegmentUri uri_in(const Pool& pool, const std::string& name) { return {"pmem", pool.path(), name}; }

std::vector<std::byte> filled(std::size_t bytes, unsigned value) {
  return std::vector<std::byte>(bytes, static_cast<std::byte>(value));
}

// The value that fills `name`, -1 where there is none, -2 where it is torn or unreadable.
int value_of(const Pool& pool, const std::string& name) {
  const auto reader = VerifiedReader::open(pool, name, 0);
  if (!reader) return reader.error().code() == Code::not_found ? -1 : -2;
  const auto bytes = reader->unverified();
  const bool is_one =
      std::all_of(bytes.begin(), bytes.end(), [&](std::byte each) { return each == bytes[0]; });
  return is_one ? static_cast<int>(bytes[0]) : -2;
}

Result<void> replace_pair(const Pool& pool, unsigned value) {
  std::vector<StagedSegment> pair;
  for (const char* name : {"a", "b"}) {
    STRATA_ASSIGN(StagedSegment staged, pool.stage({.name = name, .payload_bytes = 9000}));
    std::memset(staged.payload().data(), static_cast<int>(value), staged.payload().size());
    pair.push_back(std::move(staged));
  }
  return pool.publish(pair);
}

using Operation = std::function<Result<void>(Os&, const std::string& path)>;

std::vector<std::pair<std::string, Operation>> operations() {
  const auto discard = [](auto result) -> Result<void> {
    if (!result) return unexpected(result.error());
    return {};
  };
  return {
      {"create",
       [=](Os& os, const std::string& path) {
         PmemBackend backend(os);
         return discard(backend.create({"pmem", path, "new"}, {.payload_bytes = 5000}));
       }},
      {"remove",
       [](Os& os, const std::string& path) {
         return PmemBackend(os).remove({"pmem", path, "x"}, {});
       }},
      {"rename",
       [](Os& os, const std::string& path) { return Pool::at(os, path).rename("x", "y"); }},
      {"resize",
       [](Os& os, const std::string& path) { return Pool::at(os, path).resize("x", 70000); }},
      {"replace",
       [](Os& os, const std::string& path) { return replace_pair(Pool::at(os, path), 2); }},
      {"checkpoint",
       [=](Os& os, const std::string& path) {
         return discard(checkpoint(filled(70000, 2), Pool::at(os, path), "m", {.threads = 1}));
       }},
      {"snapshot",
       [=](Os& os, const std::string& path) {
         return discard(snapshot_pool(Pool::at(os, path), path + ".copy", {.replace = true}));
       }},
      {"grow",
       [=](Os& os, const std::string& path) {
         return discard(grow_pool(Pool::at(os, path), MiB(12)));
       }},
  };
}

// A pool with what the operations need, made once and copied for each try.
std::string make_sample(Os& os, const TempDir& dir) {
  const Pool pool = make_pool(os, dir / "sample", MiB(8));
  PmemBackend backend(os);
  { REQUIRE(backend.create(uri_in(pool, "x"), {.payload_bytes = 3000})); }
  REQUIRE(replace_pair(pool, 1));
  REQUIRE(checkpoint(filled(70000, 1), pool, "m"));
  return pool.path();
}

// So many points of each operation, or all that it has; fewer where machines are slow.
std::uint64_t stride_over(std::uint64_t calls) {
  const char* const asked = std::getenv("STRATA_KILL_POINTS");
  const std::uint64_t points =
      asked == nullptr ? 100 / test::one_in(4) : std::strtoul(asked, nullptr, 10);
  return std::max<std::uint64_t>(1, calls / std::max<std::uint64_t>(1, points));
}

void require_old_or_new(Os& os, const std::string& path) {
  const Pool pool = Pool::at(os, path);
  const int a = value_of(pool, "a");
  REQUIRE((a == 1 || a == 2));
  REQUIRE(value_of(pool, "b") == a);
  const int m = value_of(pool, "m");
  REQUIRE((m == 1 || m == 2));
  const auto has = [&](const char* name) {
    return pool.look_up(name, Deadline::after_ms(1000)).has_value();
  };
  REQUIRE_FALSE((has("x") && has("y")));
  PmemBackend backend(os);
  REQUIRE(backend.create(uri_in(pool, "after"), {.payload_bytes = 10}));
  REQUIRE(backend.remove(uri_in(pool, "after"), {}));
}

}  // namespace

TEST_CASE("after_any_failing_system_call_a_pool_has_the_old_state_or_the_new") {
  RealOs real;
  const TempDir dir("/dev/shm");
  const std::string sample = make_sample(real, dir);
  std::uint64_t faults = 0;
  for (const auto& [name, operate] : operations()) {
    INFO(name);
    std::filesystem::copy_file(sample, dir / "p");
    FaultOs counting;
    REQUIRE(operate(counting, dir / "p"));
    const std::uint64_t calls = counting.calls();
    for (std::uint64_t n = 1; n <= calls; n += test::one_in(3)) {
      std::filesystem::copy_file(sample, dir / "p",
                                 std::filesystem::copy_options::overwrite_existing);
      FaultOs os;
      os.fail_at(n, n % 2 ? ENOSPC : EIO);
      (void)operate(os, dir / "p");
      INFO("call " << n << " of " << calls);
      require_old_or_new(real, dir / "p");
      ++faults;
    }
    std::filesystem::remove(dir / "p");
  }
  strata::report_verified(faults, "injected failures");
}

TEST_CASE("a_process_killed_at_any_system_call_leaves_the_old_state_or_the_new") {
  RealOs real;
  const TempDir dir("/dev/shm");
  const std::string sample = make_sample(real, dir);
  std::uint64_t kills = 0;
  for (const auto& [name, operate] : operations()) {
    INFO(name);
    std::filesystem::copy_file(sample, dir / "p");
    FaultOs counting;
    REQUIRE(operate(counting, dir / "p"));
    const std::uint64_t calls = counting.calls();
    for (std::uint64_t n = 1; n <= calls; n += stride_over(calls)) {
      std::filesystem::copy_file(sample, dir / "p",
                                 std::filesystem::copy_options::overwrite_existing);
      const int status = in_child([&, &run = operate] {
        FaultOs os;
        os.kill_at(n);
        (void)run(os, dir / "p");
        return 0;
      });
      INFO("call " << n << " of " << calls);
      if (WIFSIGNALED(status)) ++kills;
      require_old_or_new(real, dir / "p");
    }
    std::filesystem::remove(dir / "p");
  }
  strata::report_verified(kills, "kill points");
}

TEST_CASE("four_processes_of_which_one_is_killed_every_50_ms_lose_no_acknowledged_update") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const Pool pool = make_pool(os, dir / "p", MiB(16));
  constexpr int kWorkers = 4;
  constexpr int kKills = 40;
  // Each worker replaces its own segment with rising values and acknowledges them here.
  auto* acknowledged = static_cast<std::atomic<std::uint32_t>*>(
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const auto name_of = [](int worker) { return "w" + std::to_string(worker); };
  const auto read = [&](int worker) -> long {
    const auto reader = VerifiedReader::open(pool, name_of(worker), 0);
    if (!reader) return reader.error().code() == Code::not_found ? 0 : -1;
    std::uint32_t first = 0, last = 0;
    const auto bytes = reader->unverified();
    std::memcpy(&first, bytes.data(), sizeof first);
    std::memcpy(&last, bytes.data() + bytes.size() - sizeof last, sizeof last);
    return first == last ? static_cast<long>(first) : -1;
  };
  const auto start = [&](int worker) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    long value = read(worker);
    while (value >= 0) {
      ++value;
      auto staged = pool.stage({.name = name_of(worker), .payload_bytes = 5000});
      if (!staged) continue;
      for (std::size_t at = 0; at + 4 <= 5000; at += 4)
        std::memcpy(staged->payload().data() + at, &value, 4);
      if (pool.publish(std::span(&*staged, 1))) {
        acknowledged[worker].store(static_cast<std::uint32_t>(value));
      } else {
        --value;
      }
    }
    ::_exit(1);
  };
  std::array<pid_t, kWorkers> workers{};
  for (int i = 0; i < kWorkers; ++i)
    workers[i] = start(i);
  std::mt19937 random(42);
  std::uint64_t lost = 0, exited = 0;
  for (int kill = 0; kill < kKills; ++kill) {
    os.sleep_ns(50'000'000);
    const int victim = static_cast<int>(random() % kWorkers);
    ::kill(workers[victim], SIGKILL);
    int status = 0;
    ::waitpid(workers[victim], &status, 0);
    exited += WIFEXITED(status) ? 1 : 0;
    const auto promised = acknowledged[victim].load();
    const long found = read(victim);
    // One more than was acknowledged is in order: it was killed in between.
    if (found < static_cast<long>(promised) || found > static_cast<long>(promised) + 1) ++lost;
    acknowledged[victim].store(static_cast<std::uint32_t>(found));
    workers[victim] = start(victim);
  }
  std::uint64_t updates = 0;
  for (int i = 0; i < kWorkers; ++i) {
    ::kill(workers[i], SIGKILL);
    ::waitpid(workers[i], nullptr, 0);
    if (read(i) < static_cast<long>(acknowledged[i].load())) ++lost;
    updates += acknowledged[i].load();
  }
  ::munmap(acknowledged, 4096);
  CHECK(lost == 0);
  CHECK(exited == 0);
  CHECK(updates > 0);
  const auto report = check_pool(os, pool.path()).value();
  for (const CheckItem& item : report.items) {
    INFO(item.what << ": " << item.detail);
    CHECK(item.outcome != CheckOutcome::damaged);
  }
  strata::report_verified(kKills, "kills in soaks");
  strata::report_verified(updates, "updates kept over kills");
}

TEST_CASE("a_flipped_byte_anywhere_in_the_metadata_is_never_a_crash_or_a_wrong_value") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string sample = make_sample(os, dir);
  const auto file = PoolFile::open(os, sample, Access::read_only).value();
  const auto entry = file.find("m").value();
  const std::uint64_t directory = file.directory_offset_bytes;
  const std::uint64_t slot_at =
      directory + directory_entries_offset(file.read_head().value().header.slot_count) +
      entry.slot * sizeof(DirectoryEntry);
  std::vector<std::uint64_t> places;
  for (std::uint64_t at = 0; at < 64; ++at)
    places.push_back(at);
  for (std::uint64_t at = 4096; at < 4104; ++at)
    places.push_back(at);
  for (std::uint64_t at = 6144; at < 6168; ++at)
    places.push_back(at);
  for (std::uint64_t at = 0; at < 300; at += 3)
    places.push_back(directory + at);
  for (std::uint64_t at = 0; at < 512; at += 5)
    places.push_back(slot_at + at);
  for (std::uint64_t at = 0; at < 1536; at += 11)
    places.push_back(entry.entry.header_offset_bytes + at);
  std::uint64_t refused = 0, unharmed = 0;
  for (const std::uint64_t at : places) {
    std::filesystem::copy_file(sample, dir / "p",
                               std::filesystem::copy_options::overwrite_existing);
    {
      const Fd fd = os.open(dir / "p", O_RDWR).value();
      std::array<std::byte, 1> byte{};
      REQUIRE(os.pread(fd.get(), byte, at));
      byte[0] ^= std::byte{0x21};
      REQUIRE(os.pwrite(fd.get(), byte, at));
    }
    INFO("byte " << at);
    const int status = in_child([&] {
      RealOs child_os;
      PmemBackend backend(child_os);
      const auto segment = backend.attach({"pmem", dir / "p", "m"},
                                          {.access = Access::read_only, .timeout_ms = 100});
      if (!segment) return 1;
      const auto bytes = segment->host_bytes();
      if (!bytes || bytes->size() != 70000) return 2;
      return std::all_of(bytes->begin(), bytes->end(),
                         [](std::byte each) { return each == std::byte{1}; })
                 ? 0
                 : 3;
    });
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) <= 1);
    ++(WEXITSTATUS(status) == 1 ? refused : unharmed);
  }
  CHECK(refused > 100);
  strata::report_verified(places.size(), "flipped bytes in pools");
}

TEST_CASE("a_truncated_pool_is_refused_at_every_length") {
  RealOs os;
  const TempDir dir("/dev/shm");
  const std::string sample = make_sample(os, dir);
  for (const std::uint64_t bytes :
       {std::uint64_t{0}, std::uint64_t{1}, KiB(4), KiB(8), KiB(100), MiB(4), MiB(5), MiB(6)}) {
    std::filesystem::copy_file(sample, dir / "p",
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(dir / "p", bytes);
    INFO(bytes);
    const int status = in_child([&] {
      RealOs child_os;
      const auto segment = PmemBackend(child_os).attach(
          {"pmem", dir / "p", "m"}, {.access = Access::read_only, .timeout_ms = 100});
      if (!segment) return 1;
      return value_of(Pool::at(child_os, dir / "p"), "m") == 1 ? 0 : 2;
    });
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) <= 1);
  }
}

TEST_CASE("a_pool_on_media_that_cannot_be_written_is_read_and_its_changes_refused") {
  RealOs os;
  const TempDir dir;
  const std::string sample = make_sample(os, dir);
  const auto answer = run_apart(
      [&]() -> std::string {
        if (::unshare(CLONE_NEWNS) != 0 ||
            ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount(dir.path().c_str(), dir.path().c_str(), nullptr, MS_BIND, nullptr) != 0 ||
            ::mount("none", dir.path().c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY,
                    nullptr) != 0) {
          return std::string("skip: ") + std::strerror(errno);
        }
        RealOs child_os;
        PmemBackend backend(child_os);
        if (value_of(Pool::at(child_os, sample), "m") != 1) return "not read";
        if (!backend.attach({"pmem", sample, "x"}, {.access = Access::copy_on_write})) {
          return "no copy-on-write";
        }
        const auto made = backend.create({"pmem", sample, "y"}, {.payload_bytes = 10});
        return made ? "created" : std::string(code_name(made.error().code()));
      },
      Deadline::after_ms(30'000));
  REQUIRE(answer);
  if (answer->starts_with("skip")) SKIP_TEST("cannot mount read-only here: " << *answer);
  CHECK(*answer == "permission_denied");
}

TEST_CASE("on_a_full_disk_every_change_fails_as_exhausted_and_the_pool_stays_as_it_was") {
  RealOs os;
  const TempDir dir;
  const auto answer = run_apart(
      [&]() -> std::string {
        if (::unshare(CLONE_NEWNS) != 0 ||
            ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("none", dir.path().c_str(), "tmpfs", 0, "size=12m") != 0) {
          return std::string("skip: ") + std::strerror(errno);
        }
        RealOs child_os;
        const auto too_large = Pool::create(child_os, dir / "big", {.bytes = MiB(64)});
        if (too_large) return "created a pool that does not fit";
        const std::string first(code_name(too_large.error().code()));
        const auto pool = Pool::create(child_os, dir / "p", {.bytes = MiB(8)});
        if (!pool) return "no pool: " + pool.error().to_string();
        if (!replace_pair(*pool, 1)) return "no pair";
        const auto copy = snapshot_pool(*pool, dir / "copy");
        if (copy) return "copied without room";
        const auto grown = grow_pool(*pool, MiB(32));
        if (grown) return "grew without room";
        if (value_of(*pool, "a") != 1 || value_of(*pool, "b") != 1) return "damaged";
        if (!replace_pair(*pool, 2)) return "cannot go on";
        return first + " " + std::string(code_name(copy.error().code())) + " " +
               std::string(code_name(grown.error().code()));
      },
      Deadline::after_ms(60'000));
  REQUIRE(answer);
  if (answer->starts_with("skip")) SKIP_TEST("cannot mount a small tmpfs here: " << *answer);
  CHECK(*answer == "exhausted exhausted exhausted");
}

TEST_CASE("file_systems_that_do_not_keep_mappings_coherent_between_hosts_are_known") {
  CHECK(incoherent_file_system(0x6969) == "NFS");
  CHECK(incoherent_file_system(0xEF53).empty());      // ext4
  CHECK(incoherent_file_system(0x01021994).empty());  // tmpfs
}
