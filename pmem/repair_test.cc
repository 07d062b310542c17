// Repairs: nothing that was acknowledged is lost, no original is overwritten, every loss is named.
#include "pmem/repair.h"

#include <fcntl.h>
#include <signal.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "os/fault_os.h"
#include "pmem/directory_change.h"
#include "pmem/pmem_backend.h"
#include "pmem/pool_access.h"
#include "pmem/pool_testing.h"
#include "pmem/verified_reader.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/snapshot.h"
#include "tests/catch.h"
#include "tests/verified.h"

using namespace strata;
using strata::test::in_child;
using strata::test::make_pool;
using strata::test::rewrite_directory;
using strata::test::TempDir;

namespace {

// In a lane's log of a pool of 8 MiB: libpmemobj dies of SIGSEGV when it opens the pool.
constexpr std::uint64_t kDeadlyByte = 2220302;
constexpr unsigned kDeadlyMask = 84;

std::vector<std::byte> filled(std::size_t bytes, unsigned value) {
  return std::vector<std::byte>(bytes, static_cast<std::byte>(value));
}

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void flip(const std::string& path, std::uint64_t at, unsigned mask = 0x10) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ static_cast<int>(mask)));
}

PoolEntry entry_of(const Pool& pool, const std::string& name, std::uint64_t version = 0) {
  const auto entries = pool.entries().value();
  for (const PoolEntry& each : entries) {
    if (padded_text(each.entry.name) != name) continue;
    if (version == 0 ? has_state(each.entry, EntryState::current) : each.entry.version == version)
      return each;
  }
  FAIL("no " << name);
  return {};
}

std::uint64_t payload_at(const Pool& pool, const std::string& name) {
  const DirectoryEntry entry = entry_of(pool, name).entry;
  return entry.header_offset_bytes + entry.payload_offset_bytes;
}

std::uint64_t entry_at(Os& os, const Pool& pool, const std::string& name) {
  const auto file = PoolFile::open(os, pool.path(), Access::read_only).value();
  const std::uint32_t slots = file.read_head().value().header.slot_count;
  return file.directory_offset_bytes + directory_entries_offset(slots) +
         entry_of(pool, name).slot * sizeof(DirectoryEntry);
}

// The value that fills `name`, or -1.
int value_of(const Pool& pool, const std::string& name) {
  const auto reader = VerifiedReader::open(pool, name, 0);
  return reader ? static_cast<int>(reader->unverified()[0]) : -1;
}

// With a damaged version on top of a sound one.
Pool make_damaged(Os& os, const std::string& path) {
  const Pool pool = make_pool(os, path, MiB(8));
  REQUIRE(checkpoint(filled(70'000, 1), pool, "m"));
  REQUIRE(checkpoint(filled(70'000, 2), pool, "m"));
  flip(path, payload_at(pool, "m") + 1000);
  return pool;
}

bool mentions(const std::vector<std::string>& lines, const std::string& text) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& line) { return line.find(text) != std::string::npos; });
}

}  // namespace

TEST_CASE("a_repair_in_place_is_refused_while_anybody_is_attached_and_changes_nothing") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_damaged(os, dir / "p");
  REQUIRE(checkpoint(filled(5'000, 3), pool, "other"));
  PmemBackend backend(os);
  const Segment reader =
      backend.attach({"pmem", pool.path(), "other"}, {.access = Access::read_only}).value();
  const std::string before = content_of(pool.path());
  const auto refused = repair_pool(os, pool.path(), {.in_place = true});
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::failed_precondition);
  CHECK(refused.error().message().find("in use by pid") != std::string::npos);
  CHECK(os.list_directory(dir.path()).value() == std::vector<std::string>{"p"});
  CHECK(content_of(pool.path()) == before);
}

TEST_CASE("a_repair_into_another_file_is_refused_for_writers_and_not_for_readers") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_damaged(os, dir / "p");
  PmemBackend backend(os);
  { REQUIRE(backend.create({"pmem", pool.path(), "live"}, {.payload_bytes = 10})); }
  {
    const Segment writer = backend.attach({"pmem", pool.path(), "live"}, {}).value();
    const auto refused = repair_pool(os, pool.path());
    REQUIRE(!refused);
    CHECK(refused.error().code() == Code::failed_precondition);
  }
  const Segment reader =
      backend.attach({"pmem", pool.path(), "live"}, {.access = Access::read_only}).value();
  CHECK(repair_pool(os, pool.path()).value().versions_kept == 2);
}

TEST_CASE("a_repair_of_a_pool_that_is_held_names_the_holder") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_damaged(os, dir / "p");
  const auto held = DirectoryChange::freeze(os, pool.path(), Deadline::after_ms(10'000)).value();
  for (const bool in_place : {false, true}) {
    const auto refused =
        repair_pool(os, pool.path(), {.in_place = in_place, .deadline = Deadline::after_ms(0)});
    REQUIRE(!refused);
    CHECK(refused.error().code() == Code::timed_out);
    CHECK(refused.error().message().find("held by pid") != std::string::npos);
  }
  CHECK(os.list_directory(dir.path()).value() == std::vector<std::string>{"p"});
}

TEST_CASE("a_pool_of_a_later_program_is_not_repaired_however_damaged_its_segments_are") {
  RealOs os;
  const TempDir dir;
  const std::vector<std::function<void(DirectoryHeader&)>> later = {
      [](DirectoryHeader& header) { header.features_required = 4; },
      [](DirectoryHeader& header) { header.features_read_only = 4; },
      [](DirectoryHeader& header) { header.version_major += 1; },
  };
  for (const auto& change : later) {
    std::filesystem::remove(dir / "p");
    const Pool pool = make_damaged(os, dir / "p");
    rewrite_directory(os, pool.path(), change);
    const std::string before = content_of(pool.path());
    for (const bool in_place : {false, true}) {
      const auto refused = repair_pool(os, pool.path(), {.in_place = in_place});
      REQUIRE(!refused);
      CHECK(refused.error().code() == Code::unsupported);
      CHECK(refused.error().message().find("newer") != std::string::npos);
    }
    CHECK(os.list_directory(dir.path()).value() == std::vector<std::string>{"p"});
    CHECK(content_of(pool.path()) == before);
  }
}

TEST_CASE("a_repair_does_not_believe_a_later_version_of_a_header_that_is_damaged") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_damaged(os, dir / "p");
  const PoolFile file = PoolFile::open(os, pool.path(), Access::read_only).value();
  flip(pool.path(), file.directory_offset_bytes + offsetof(DirectoryHeader, version_major));
  const auto report = repair_pool(os, pool.path(), {.in_place = true}).value();
  CHECK(report.directory_was_rebuilt);
  CHECK(value_of(pool, "m") == 1);
}

TEST_CASE("each_repair_in_place_keeps_its_original_under_a_name_of_its_own") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_damaged(os, dir / "p");
  const std::string first = content_of(pool.path());
  CHECK(repair_pool(os, pool.path(), {.in_place = true}).value().damaged_path == dir / "p.damaged");
  REQUIRE(checkpoint(filled(70'000, 4), pool, "m"));
  flip(pool.path(), payload_at(pool, "m"));
  const std::string second = content_of(pool.path());
  CHECK(repair_pool(os, pool.path(), {.in_place = true}).value().damaged_path ==
        dir / "p.damaged.2");
  CHECK(content_of(dir / "p.damaged") == first);
  CHECK(content_of(dir / "p.damaged.2") == second);
  CHECK(value_of(pool, "m") == 1);
}

TEST_CASE("a_repair_in_place_that_fails_or_is_killed_at_any_call_leaves_name_and_original") {
  RealOs real;
  const TempDir dir("/dev/shm");
  const Pool sample = make_damaged(real, dir / "sample");
  const std::string original = content_of(sample.path());
  const std::string path = dir / "p";
  const auto start = [&] {
    std::filesystem::remove(path);
    std::filesystem::remove(path + ".damaged");
    std::filesystem::copy_file(sample.path(), path);
  };
  start();
  FaultOs counting;
  REQUIRE(repair_pool(counting, path, {.in_place = true}));
  const std::uint64_t calls = counting.calls();
  std::uint64_t kills = 0;
  // The last calls are those that give names.
  constexpr std::uint64_t kNaming = 20;
  for (std::uint64_t n = 1; n <= calls; n += n + kNaming < calls ? 1 + calls / 8 : 1) {
    for (const bool is_kill : {false, true}) {
      INFO((is_kill ? "kill at " : "fail at ") << n << " of " << calls);
      start();
      const int status = in_child([&] {
        FaultOs os;
        is_kill ? os.kill_at(n) : os.fail_at(n, ENOSPC);
        (void)repair_pool(os, path, {.in_place = true});
        return 0;
      });
      kills += WIFSIGNALED(status) ? 1 : 0;
      const bool is_original = content_of(path) == original;
      if (!is_original) {
        REQUIRE(value_of(Pool::at(real, path), "m") == 1);
        REQUIRE(content_of(path + ".damaged") == original);
      } else if (is_kill) {
        const auto again = repair_pool(real, path, {.in_place = true});
        INFO((again ? "" : again.error().message()));
        REQUIRE(again);
        REQUIRE(again->damaged_path == path + ".damaged");
      }
    }
  }
  CHECK(kills > 0);
  report_verified(kills, "kill points");
}

namespace {

// The real kernel, and somebody else who does something just before the n-th call.
class InterruptedOs final : public Os {
 public:
  InterruptedOs(std::uint64_t n, std::function<void()> other) : n_(n), other_(std::move(other)) {}
  std::uint64_t calls() const { return calls_; }

 protected:
  int before(const char*) override {
    if (++calls_ == n_) other_();
    return 0;
  }

 private:
  std::uint64_t calls_ = 0;
  std::uint64_t n_;
  std::function<void()> other_;
};

}  // namespace

TEST_CASE("an_acknowledged_import_outlives_a_repair_or_a_growth_at_any_of_its_moments") {
  RealOs real;
  const TempDir dir("/dev/shm");
  const Pool sample = make_pool(real, dir / "sample", MiB(8));
  REQUIRE(checkpoint(filled(9'000, 1), sample, "m"));
  const std::string path = dir / "p";
  const Deadline at_once = Deadline::after_ms(0);
  const std::vector<std::pair<std::string, std::function<bool()>>> others = {
      {"repair",
       [&] {
         return repair_pool(real, path, {.in_place = true, .deadline = at_once}).has_value();
       }},
      {"grow", [&] { return grow_pool(Pool::at(real, path), MiB(9), at_once).has_value(); }},
  };
  const auto import = [&](Os& os) {
    return checkpoint(filled(9'000, 2), Pool::at(os, path), "m", {.threads = 1});
  };
  const auto start = [&] {
    std::filesystem::remove(path + ".damaged");
    std::filesystem::copy_file(sample.path(), path,
                               std::filesystem::copy_options::overwrite_existing);
  };
  start();
  InterruptedOs counting(0, [] {});
  REQUIRE(import(counting));
  std::uint64_t replaced = 0;
  for (const auto& [name, other] : others) {
    for (std::uint64_t n = 1; n <= counting.calls(); ++n) {
      INFO(name << " at call " << n << " of " << counting.calls());
      start();
      InterruptedOs os(n, [&, &run = other] { replaced += run() ? 1 : 0; });
      const bool is_acknowledged = import(os).has_value();
      const int value = value_of(Pool::at(real, path), "m");
      REQUIRE((value == 1 || value == 2));
      if (is_acknowledged) REQUIRE(value == 2);
    }
  }
  CHECK(replaced > 0);
  report_verified(counting.calls() * 2, "pools replaced during imports");
}

TEST_CASE("where_the_heap_cannot_be_walked_a_repair_says_that_objects_may_be_lost") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_damaged(os, dir / "p");
  flip(pool.path(), kDeadlyByte, kDeadlyMask);
  const std::string before = content_of(pool.path());
  const auto report = repair_pool(os, pool.path(), {.in_place = true}).value();
  CHECK_FALSE(report.heap_was_walked);
  CHECK(mentions(report.lost, "objects that are no segments, if there were any"));
  CHECK(report.versions_kept == 1);
  CHECK(content_of(report.damaged_path) == before);
  CHECK(value_of(pool, "m") == 1);
}

TEST_CASE("a_repaired_pool_has_nothing_but_what_was_kept") {
  RealOs os;
  const TempDir dir;
  make_damaged(os, dir / "p");
  const auto report = repair_pool(os, dir / "p").value();
  REQUIRE(report.lost.size() == 1);
  CHECK(mentions(report.lost, "m version 2"));
  const auto entries = Pool::at(os, report.path).entries().value();
  REQUIRE(entries.size() == 1);
  CHECK(has_state(entries[0].entry, EntryState::current));
}

TEST_CASE("of_a_pool_that_was_cut_short_every_version_that_is_gone_is_named") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p", MiB(16));
  REQUIRE(checkpoint(filled(70'000, 1), pool, "near"));
  REQUIRE(checkpoint(filled(MiB(4), 2), pool, "far"));
  std::filesystem::resize_file(pool.path(), payload_at(pool, "far") + MiB(1));
  const auto report = repair_pool(os, pool.path()).value();
  CHECK(report.versions_kept == 1);
  CHECK(mentions(report.lost, "far version 1"));
  CHECK_FALSE(mentions(report.lost, "near version 1"));
  CHECK(value_of(Pool::at(os, report.path), "near") == 1);
}

TEST_CASE("a_segment_with_a_damaged_header_is_named_also_where_anothers_entry_is_damaged") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p", MiB(8));
  REQUIRE(checkpoint(filled(70'000, 1), pool, "a"));
  REQUIRE(checkpoint(filled(70'000, 2), pool, "b"));
  REQUIRE(checkpoint(filled(70'000, 3), pool, "c"));
  flip(pool.path(), entry_of(pool, "a").entry.header_offset_bytes + 20);
  flip(pool.path(), entry_at(os, pool, "b") + 100);
  const auto report = repair_pool(os, pool.path()).value();
  CHECK(report.directory_was_rebuilt);
  CHECK(report.versions_kept == 2);
  CHECK(mentions(report.lost, "a version 1"));
  CHECK(value_of(Pool::at(os, report.path), "b") == 2);
  CHECK(value_of(Pool::at(os, report.path), "c") == 3);
}

TEST_CASE("a_sealed_segment_that_differs_from_its_hash_is_left_out_and_named") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p", MiB(8));
  PmemBackend backend(os);
  for (const char* name : {"sound", "damaged"}) {
    Segment made = backend.create({"pmem", pool.path(), name}, {.payload_bytes = 5000}).value();
    REQUIRE(made.seal());
  }
  flip(pool.path(), payload_at(pool, "damaged") + 7);
  const auto report = repair_pool(os, pool.path()).value();
  CHECK(report.versions_kept == 1);
  CHECK(mentions(report.lost, "damaged version 1: its content differs from the hash"));
  CHECK(grow_pool(pool, MiB(16)).error().code() == Code::corrupt);
}
