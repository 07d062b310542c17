// Pools on a disk that is really full, or nearly: each operation does what it is asked for, or says
// `exhausted` and leaves everything as it was. None of them dies of a page that cannot be had.
// It fills the file system that /tmp is on: for the guest only.
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "os/run_apart.h"
#include "pmem/export_file.h"
#include "pmem/pmem_backend.h"
#include "pmem/pool_check.h"
#include "pmem/pool_testing.h"
#include "pmem/verified_reader.h"
#include "strata/copy.h"
#include "strata/pmem/backup.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/persistent.h"
#include "strata/pmem/snapshot.h"
#include "strata/strata.h"
#include "tests/catch.h"
#include "tests/verified.h"
#include "tests/vm/shared_bank.h"

namespace strata::inline v0_1::test {
namespace {

constexpr std::uint64_t kPoolBytes = MiB(12);
constexpr std::uint64_t kChunks[] = {MiB(1), KiB(64), KiB(4)};
// What stays free. Only what makes files needs any.
constexpr std::uint64_t kNothing[] = {0};
constexpr std::uint64_t kSteps[] = {0, KiB(64), MiB(2)};

// Takes the room of the file system of `path` but for some bytes, and gives it back at its end.
class Ballast {
 public:
  Ballast(std::string path, std::uint64_t left_bytes) : path_(std::move(path)) {
    const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
    REQUIRE(fd >= 0);
    std::uint64_t bytes = 0;
    for (const std::uint64_t chunk : kChunks) {
      while (::posix_fallocate(fd, static_cast<off_t>(bytes), static_cast<off_t>(chunk)) == 0)
        bytes += chunk;
    }
    REQUIRE(bytes > left_bytes);
    REQUIRE(::ftruncate(fd, static_cast<off_t>(bytes - left_bytes)) == 0);
    ::fsync(fd);
    ::close(fd);
  }
  ~Ballast() {
    std::filesystem::remove(path_);
    ::sync();  // so that ext4 hands the blocks out again
  }

 private:
  std::string path_;
};

std::vector<std::byte> filled(std::size_t bytes, unsigned value) {
  return std::vector<std::byte>(bytes, static_cast<std::byte>(value));
}

// 0: it is not there.
int value_of(const Pool& pool, const std::string& name) {
  const auto reader = VerifiedReader::open(pool, name, 0);
  if (!reader) return reader.error().code() == Code::not_found ? 0 : -1;
  const auto bytes = reader->unverified();
  for (const std::byte each : bytes) {
    if (each != bytes[0]) return -2;
  }
  return static_cast<int>(bytes[0]);
}

template <typename T>
Result<void> forget(const Result<T>& result) {
  if (!result) return unexpected(result.error());
  return {};
}

struct Operation {
  const char* name;
  std::function<Result<void>(Os&, const TempDir&)> run;
  // Makes a file of several MiB, so that on a full disk it has to fail.
  enum class Makes { nothing, a_file } makes = Makes::nothing;
};

Result<void> put(Os& os, const std::string& path) {
  STRATA_ASSIGN(Segment segment,
                PmemBackend(os).create({"pmem", path, "put"}, {.payload_bytes = 300'000}));
  STRATA_ASSIGN(const std::span<std::byte> bytes, segment.writable_bytes());
  std::fill(bytes.begin(), bytes.end(), std::byte{7});
  return segment.persist(0, bytes.size());
}

Result<void> copy_file(Os& os, const TempDir& dir, const std::string& name,
                       const CopyOptions& options) {
  Catalog catalog = make_catalog(os);
  STRATA_ASSIGN(const auto file, open_source(os, dir / "file"));
  return forget(copy(catalog, *file, SegmentUri{"pmem", dir / "p", name}, options));
}

std::vector<Operation> operations() {
  using Makes = Operation::Makes;
  return {
      {"create a pool",
       [](Os& os, const TempDir& dir) {
         return forget(Pool::create(os, dir / "other", {.bytes = MiB(8)}));
       },
       Makes::a_file},
      {"create and put", [](Os& os, const TempDir& dir) { return put(os, dir / "p"); }},
      {"checkpoint",
       [](Os& os, const TempDir& dir) {
         return forget(checkpoint(filled(400'000, 2), Pool::at(os, dir / "p"), "m"));
       }},
      {"import",
       [](Os& os, const TempDir& dir) {
         return copy_file(os, dir, "m", {.if_exists = IfExists::new_version});
       }},
      {"put", [](Os& os, const TempDir& dir) { return copy_file(os, dir, "put", {}); }},
      {"resize",
       [](Os& os, const TempDir& dir) { return Pool::at(os, dir / "p").resize("x", 900'000); }},
      {"clone",
       [](Os& os, const TempDir& dir) {
         return clone_segment(Pool::at(os, dir / "p"), "m", 0, "copy");
       }},
      {"remove",
       [](Os& os, const TempDir& dir) {
         return PmemBackend(os).remove({"pmem", dir / "p", "x"}, {});
       }},
      {"snapshot",
       [](Os& os, const TempDir& dir) {
         return forget(snapshot_pool(Pool::at(os, dir / "p"), dir / "snapshot"));
       },
       Makes::a_file},
      {"grow",
       [](Os& os, const TempDir& dir) {
         return forget(grow_pool(Pool::at(os, dir / "p"), kPoolBytes + MiB(4)));
       },
       Makes::a_file},
      {"export",
       [](Os& os, const TempDir& dir) {
         return forget(export_file(Pool::at(os, dir / "p"), "large", 0, dir / "exported"));
       },
       Makes::a_file},
      {"backup",
       [](Os& os, const TempDir& dir) {
         return forget(backup_pool(Pool::at(os, dir / "p"), dir / "backup"));
       },
       Makes::a_file},
      {"restore",
       [](Os& os, const TempDir& dir) {
         return forget(restore_pool(os, dir / "saved", dir / "restored"));
       },
       Makes::a_file},
  };
}

// A pool with what the operations need, beside a file and a backup.
void make_sample(Os& os, const TempDir& dir) {
  const Pool pool = make_pool(os, dir / "sample", kPoolBytes);
  { REQUIRE(PmemBackend(os).create({"pmem", pool.path(), "x"}, {.payload_bytes = 3000})); }
  REQUIRE(checkpoint(filled(400'000, 1), pool, "m"));
  REQUIRE(checkpoint(filled(MiB(2) + 500'000, 5), pool, "large", {.keep_versions = 0}));
  REQUIRE(backup_pool(pool, dir / "saved"));
  const auto content = filled(400'000, 2);
  std::ofstream(dir / "file", std::ios::binary)
      .write(reinterpret_cast<const char*>(content.data()),
             static_cast<std::streamsize>(content.size()));
}

std::size_t file_count(const TempDir& dir) {
  const std::filesystem::directory_iterator files(dir.path());
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

void require_sound(Os& os, const std::string& path) {
  const auto report = check_pool(os, path, {.threads = 1});
  REQUIRE(report);
  for (const CheckItem& item : report->items) {
    INFO(item.what << ": " << item.detail);
    REQUIRE(item.outcome != CheckOutcome::damaged);
  }
}

void require_old_or_new(Os& os, const std::string& path) {
  const Pool pool = Pool::open(os, path).value();
  const int m = value_of(pool, "m"), put = value_of(pool, "put"), copy = value_of(pool, "copy");
  INFO("m " << m << ", put " << put << ", copy " << copy);
  REQUIRE((m == 1 || m == 2));
  REQUIRE((put == 0 || put == 7 || put == 2));  // created and put, or copied from the file
  REQUIRE((copy == 0 || copy == 1));
  REQUIRE(value_of(pool, "large") == 5);
  require_sound(os, path);
}

// What became of it, in a process of its own, which a page that cannot be had would kill.
std::string outcome_of(const Operation& operation, const TempDir& dir) {
  const auto outcome = run_apart(
      [&]() -> std::string {
        RealOs os;
        const Result<void> done = operation.run(os, dir);
        if (done) return "done";
        return std::string(code_name(done.error().code()));
      },
      Deadline::after_ms(60'000));
  return outcome ? *outcome : outcome.error().to_string();
}

}  // namespace

TEST_CASE("on_a_full_disk_every_operation_succeeds_or_is_exhausted_and_changes_nothing") {
  RealOs os;
  const TempDir dir;
  make_sample(os, dir);
  std::uint64_t tries = 0, refused = 0;
  for (const Operation& operation : operations()) {
    const bool makes_file = operation.makes == Operation::Makes::a_file;
    const auto steps = makes_file ? std::span<const std::uint64_t>(kSteps) : kNothing;
    for (const std::uint64_t left_bytes : steps) {
      INFO(operation.name << " with " << left_bytes << " bytes left");
      std::filesystem::copy_file(dir / "sample", dir / "p",
                                 std::filesystem::copy_options::overwrite_existing);
      const std::size_t files = file_count(dir);
      std::string outcome;
      {
        const Ballast ballast(dir / "ballast", left_bytes);
        outcome = outcome_of(operation, dir);
      }
      ++tries;
      if (makes_file) {
        CHECK(outcome == "exhausted");
      } else {
        CHECK((outcome == "done" || outcome == "exhausted"));
      }
      if (outcome == "exhausted") {
        ++refused;
        CHECK(file_count(dir) == files);
      }
      require_old_or_new(os, dir / "p");
    }
    // With room it goes on.
    if (outcome_of(operation, dir) != "done") {
      std::filesystem::copy_file(dir / "sample", dir / "p",
                                 std::filesystem::copy_options::overwrite_existing);
      INFO(operation.name);
      CHECK(outcome_of(operation, dir) == "done");
    }
    for (const char* made : {"other", "snapshot", "exported", "backup", "restored"})
      std::filesystem::remove(dir / made);
  }
  CHECK(refused > 0);
  report_verified(tries, "operations on full disks");
}

TEST_CASE("transactions_go_on_in_a_pool_on_a_full_disk") {
  RealOs os;
  const TempDir dir;
  REQUIRE(Pool::create(os, dir / "p", {.bytes = kBankPoolBytes}));
  REQUIRE(SharedBank::create(dir / "p", 4711));
  const Ballast ballast(dir / "ballast", 0);
  const auto outcome = run_apart(
      [&]() -> std::string {
        const auto bank = SharedBank::open(dir / "p");
        if (!bank) return bank.error().to_string();
        for (int i = 1; i <= 200; ++i) {
          const auto done = (*bank)->transfer(i % kBankProcesses, SharedBank::Tells::when_safe,
                                              [](std::uint64_t) {});
          if (!done) return done.error().to_string();
          if (i % 50 != 0) continue;
          if (auto kept = (*bank)->checkpoint_log(); !kept) return kept.error().to_string();
        }
        const auto sound = (*bank)->check();
        return sound ? "sound" : sound.error().to_string();
      },
      Deadline::after_ms(100'000));
  REQUIRE(outcome);
  CHECK(*outcome == "sound");
  require_sound(os, dir / "p");
}

TEST_CASE("a_pool_with_holes_is_filled_or_refused_before_it_is_written_to") {
  RealOs os;
  const TempDir dir;
  make_sample(os, dir);
  // As a backup program leaves it that does not write zeros.
  {
    std::ifstream from(dir / "sample", std::ios::binary);
    std::ofstream to(dir / "p", std::ios::binary);
    std::vector<char> page(4096);
    while (from.read(page.data(), static_cast<std::streamsize>(page.size()))) {
      const bool is_zero =
          std::all_of(page.begin(), page.end(), [](char each) { return each == 0; });
      if (is_zero) {
        to.seekp(static_cast<std::streamoff>(page.size()), std::ios::cur);
      } else {
        to.write(page.data(), static_cast<std::streamsize>(page.size()));
      }
    }
  }
  std::filesystem::resize_file(dir / "p", kPoolBytes);
  const Operation put = operations()[1];
  const Operation own = {"open as its owner", [](Os& os, const TempDir& dir) {
                           return forget(pmem::pool<int>::open(os, dir / "p", "strata"));
                         }};
  {
    const Ballast ballast(dir / "ballast", 0);
    CHECK(outcome_of(put, dir) == "exhausted");
    CHECK(outcome_of(own, dir) == "exhausted");
  }
  require_old_or_new(os, dir / "p");
  CHECK(outcome_of(own, dir) == "done");
  CHECK(outcome_of(put, dir) == "done");
}

}  // namespace strata::inline v0_1::test
