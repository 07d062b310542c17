// The life of data: checkpoints, restores, snapshots, growth, backups, checks, repairs.
#include <fcntl.h>
#include <signal.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/crc32c.h"
#include "pmem/backup_format.h"
#include "pmem/export_file.h"
#include "pmem/pmem_backend.h"
#include "pmem/pool_access.h"
#include "pmem/pool_check.h"
#include "pmem/pool_testing.h"
#include "pmem/repair.h"
#include "pmem/verified_reader.h"
#include "strata/pmem/backup.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/snapshot.h"
#include "tests/catch.h"
#include "tests/verified.h"

using namespace strata;
using strata::test::in_child;
using strata::test::make_pool;
using strata::test::TempDir;

namespace {

std::vector<std::byte> noise(std::size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> made(bytes);
  for (std::byte& each : made)
    each = static_cast<std::byte>(random());
  return made;
}

std::vector<std::byte> restored(const Pool& pool, const std::string& name,
                                std::uint64_t version = 0) {
  const auto reader = VerifiedReader::open(pool, name, version).value();
  std::vector<std::byte> bytes(reader.bytes());
  REQUIRE(load_version(pool, name, version, bytes, {.even_if_unverified = true}));
  return bytes;
}

void write_file(const std::string& path, const std::vector<std::byte>& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
}

std::vector<std::byte> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return {bytes, bytes + text.size()};
}

// Flips one bit of the payload of a segment on the medium.
void flip(Os& os, const Pool& pool, const std::string& name, std::uint64_t at) {
  const auto entry = pool.look_up(name, Deadline::after_ms(1000)).value().found.entry;
  const Fd fd = os.open(pool.path(), O_RDWR).value();
  std::array<std::byte, 1> byte{};
  const std::uint64_t offset = entry.header_offset_bytes + entry.payload_offset_bytes + at;
  REQUIRE(os.pread(fd.get(), byte, offset));
  byte[0] ^= std::byte{0x10};
  REQUIRE(os.pwrite(fd.get(), byte, offset));
}

}  // namespace

TEST_CASE("a_checkpoint_comes_back_byte_for_byte_with_every_block_verified") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p", MiB(32));
  const auto content = noise(MiB(5) + 123, 1);
  std::atomic<std::uint64_t> progress = 0;
  const auto made = checkpoint(content, pool, "model",
                               {.progress = [&](std::uint64_t bytes) { progress += bytes; }})
                        .value();
  CHECK(made.version == 1);
  CHECK(made.blocks == 81);
  CHECK(made.blocks_written == 81);
  CHECK(progress == content.size());
  std::vector<std::byte> back(content.size());
  CHECK(load_version(pool, "model", 0, back).value().blocks_verified == 81);
  CHECK(back == content);
  CHECK(verify_blocks(pool, "model", 0).value().bad_block_count == 0);
}

TEST_CASE("a_checkpoint_writes_only_blocks_that_differ_from_the_version_it_recycles") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p", MiB(32));
  auto content = noise(MiB(2), 2);
  const CheckpointOptions keep_one{.keep_versions = 1};
  CHECK(checkpoint(content, pool, "m", keep_one).value().blocks_written == 32);
  content[0] ^= std::byte{1};
  CHECK(checkpoint(content, pool, "m", keep_one).value().blocks_written == 32);
  CHECK(checkpoint(content, pool, "m", keep_one).value().blocks_written == 32);
  content[MiB(1)] ^= std::byte{1};
  const auto fourth = checkpoint(content, pool, "m", keep_one).value();
  CHECK(fourth.is_incremental);
  CHECK(fourth.version == 4);
  CHECK(fourth.blocks_written == 2);  // differs from version 1 in two blocks
  CHECK(restored(pool, "m") == content);
  content[MiB(1)] ^= std::byte{1};
  CHECK(restored(pool, "m", 3) == content);
  CHECK(check_pool(os, pool.path()).value().is_sound());
}

TEST_CASE("a_checkpoint_that_is_killed_costs_none_of_the_versions_to_keep") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p", MiB(32));
  std::vector<std::vector<std::byte>> versions;
  const auto make = [&](ProgressFn progress) {
    return checkpoint(versions.back(), pool, "m",
                      {.keep_versions = 2, .threads = 1, .progress = std::move(progress)});
  };
  for (unsigned i = 0; i < 5; ++i) {
    versions.push_back(noise(MiB(1), 40 + i));
    REQUIRE(make({}));
  }
  versions.push_back(noise(MiB(1), 50));
  const int status = in_child([&] {
    (void)make([](std::uint64_t) { ::raise(SIGKILL); });
    return 0;
  });
  REQUIRE((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
  REQUIRE(pool.sweep());
  for (const std::uint64_t version : {3u, 4u, 5u})
    CHECK(restored(pool, "m", version) == versions[version - 1]);
  CHECK(check_pool(os, pool.path()).value().is_sound());
  REQUIRE(make({}));
  CHECK(restored(pool, "m") == versions.back());
  CHECK(restored(pool, "m", 4) == versions[3]);
}

TEST_CASE("a_reader_keeps_the_version_that_it_attached_while_many_checkpoints_follow") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p", MiB(32));
  PmemBackend backend(os);
  const auto first = noise(KiB(300), 3);
  REQUIRE(checkpoint(first, pool, "m", {.keep_versions = 1}));
  const Segment reader =
      backend.attach({"pmem", pool.path(), "m"}, {.access = Access::read_only}).value();
  for (unsigned i = 0; i < 6; ++i)
    REQUIRE(checkpoint(noise(KiB(300), 10 + i), pool, "m", {.keep_versions = 1}));
  const auto bytes = reader.host_bytes().value();
  CHECK(std::equal(bytes.begin(), bytes.end(), first.begin(), first.end()));
  CHECK(backend.attach({"pmem", pool.path(), "m"}, {}).error().code() == Code::failed_precondition);
}

TEST_CASE("a_flipped_bit_is_reported_with_its_block_and_never_returned") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p", MiB(32));
  const auto content = noise(MiB(1), 4);
  REQUIRE(checkpoint(content, pool, "m"));
  flip(os, pool, "m", 5 * kDefaultBlockBytes + 77);
  const auto report = verify_blocks(pool, "m", 0).value();
  REQUIRE(report.bad_block_count == 1);
  CHECK(report.bad_blocks[0].block == 5);
  std::vector<std::byte> back(content.size());
  const auto restoring = load_version(pool, "m", 0, back);
  REQUIRE(!restoring);
  CHECK(restoring.error().code() == Code::corrupt);
  CHECK(restoring.error().message().find("block 5") != std::string::npos);
  const auto reader = VerifiedReader::open(pool, "m", 0).value();
  std::vector<std::byte> some(100);
  CHECK(reader.read(0, some));
  CHECK(reader.read(5 * kDefaultBlockBytes - 50, some).error().code() == Code::corrupt);
  CHECK(export_file(pool, "m", 0, dir / "out").error().code() == Code::corrupt);
  CHECK(!os.stat(dir / "out"));
  const auto checked = check_pool(os, pool.path()).value();
  CHECK_FALSE(checked.is_sound());
}

TEST_CASE("a_version_comes_out_as_a_file_unchanged") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p", MiB(32));
  const auto content = noise(MiB(3) + 1, 5);
  CHECK(checkpoint(content, pool, "data").value().version == 1);
  REQUIRE(export_file(pool, "data", 0, dir / "out"));
  CHECK(read_file(dir / "out") == content);
  CHECK(export_file(pool, "data", 0, dir / "out").error().code() == Code::already_exists);
  CHECK(export_file(pool, "data", 0, dir / "out", {.replace = true}));
}

TEST_CASE("a_snapshot_is_a_pool_of_its_own_and_says_how_it_was_made") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p");
  PmemBackend backend(os);
  const auto content = noise(KiB(100), 6);
  REQUIRE(checkpoint(content, pool, "m"));
  {
    const Segment writer =
        backend.create({"pmem", pool.path(), "live"}, {.payload_bytes = 10}).value();
    CHECK(snapshot_pool(pool, dir / "copy").error().code() == Code::failed_precondition);
  }
  const auto made = snapshot_pool(pool, dir / "copy").value();
  CHECK((made.method == CopyMethod::reflink || made.method == CopyMethod::copy));
  REQUIRE(checkpoint(noise(KiB(100), 7), pool, "m"));
  const Pool copy = Pool::open(os, dir / "copy").value();
  CHECK(restored(copy, "m") == content);
  CHECK(check_pool(os, copy.path()).value().is_sound());
  CHECK(snapshot_pool(pool, dir / "copy").error().code() == Code::already_exists);
  const auto cloned = clone_segment(copy, "m", 0, "twin");
  INFO((cloned ? "" : cloned.error().to_string()));
  REQUIRE(cloned);
  CHECK(restored(copy, "twin") == content);
  Segment twin = backend.attach({"pmem", copy.path(), "twin"}, {}).value();
  twin.writable_bytes().value()[0] ^= std::byte{1};
  CHECK(restored(copy, "m") == content);
}

TEST_CASE("a_pool_grows_with_all_its_versions_and_holds_more") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p", MiB(16));
  PmemBackend backend(os);
  const auto old = noise(MiB(1), 8), now = noise(MiB(1), 9), large = noise(MiB(20), 10);
  REQUIRE(checkpoint(old, pool, "m"));
  REQUIRE(checkpoint(now, pool, "m"));
  {
    Segment live = backend.create({"pmem", pool.path(), "live"}, {.payload_bytes = 100}).value();
    std::memset(live.writable_bytes().value().data(), 9, 100);
    CHECK(grow_pool(pool, MiB(64)).error().code() == Code::failed_precondition);
  }
  CHECK(checkpoint(large, pool, "big").error().code() == Code::exhausted);
  CHECK(grow_pool(pool, MiB(8)).error().code() == Code::invalid_argument);
  CHECK(grow_pool(pool, MiB(64)).value().segments == 3);
  REQUIRE(checkpoint(large, pool, "big"));
  CHECK(restored(pool, "m") == now);
  CHECK(restored(pool, "m", 1) == old);
  CHECK(restored(pool, "big") == large);
  CHECK(restored(pool, "live") == std::vector<std::byte>(100, std::byte{9}));
  CHECK(check_pool(os, pool.path()).value().is_sound());
  CHECK(std::system(("pmempool check " + pool.path()).c_str()) == 0);
}

TEST_CASE("a_backup_becomes_the_same_pool_again") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p");
  PmemBackend backend(os);
  const auto old = noise(KiB(500), 11), now = noise(KiB(500), 12);
  REQUIRE(checkpoint(old, pool, "m"));
  REQUIRE(checkpoint(now, pool, "m"));
  { REQUIRE(backend.create({"pmem", pool.path(), "live"}, {.payload_bytes = 33})); }
  CHECK(backup_pool(pool, dir / "b").value().versions == 3);
  CHECK(restore_pool(os, dir / "b", dir / "q").value().versions == 3);
  const Pool again = Pool::open(os, dir / "q").value();
  CHECK(restored(again, "m") == now);
  CHECK(restored(again, "m", 1) == old);
  CHECK(backend.attach({"pmem", again.path(), "live"}, {}));
  CHECK(check_pool(os, again.path()).value().is_sound());
  CHECK(restore_pool(os, dir / "b", dir / "q").error().code() == Code::already_exists);
}

TEST_CASE("a_backup_that_fits_into_no_pool_of_its_size_becomes_a_larger_one") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p", MiB(32));
  const auto content = noise(MiB(2), 17);
  for (const char* name : {"a", "b", "c", "d", "e"})
    REQUIRE(checkpoint(content, pool, name));
  REQUIRE(backup_pool(pool, dir / "b"));
  // As of a pool that was filled in an order in which all of it fitted.
  auto bytes = read_file(dir / "b");
  BackupHeader header{};
  std::memcpy(&header, bytes.data(), sizeof header);
  header.pool_bytes = MiB(8);
  header.crc32c =
      crc32c(std::as_bytes(std::span(&header, 1)).first(offsetof(BackupHeader, crc32c)));
  std::memcpy(bytes.data(), &header, sizeof header);
  write_file(dir / "b", bytes);
  const auto refused = restore_pool(os, dir / "b", dir / "q", {.bytes = MiB(8)});
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::exhausted);
  CHECK(refused.error().message().find("without a size (--size)") != std::string::npos);
  CHECK(!os.stat(dir / "q"));
  const BackupReport report = restore_pool(os, dir / "b", dir / "q").value();
  CHECK(report.versions == 5);
  CHECK(report.payload_bytes == 5 * content.size());
  CHECK(report.old_pool_bytes == MiB(8));
  CHECK(report.pool_bytes == std::filesystem::file_size(dir / "q"));
  CHECK(report.pool_bytes > MiB(10));
  const Pool again = Pool::open(os, dir / "q").value();
  for (const char* name : {"a", "b", "c", "d", "e"})
    CHECK(restored(again, name) == content);
}

TEST_CASE("a_backup_is_made_beside_a_reader_that_takes_locks_and_not_beside_a_writer") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p");
  PmemBackend backend(os);
  { REQUIRE(backend.create({"pmem", pool.path(), "x"}, {.payload_bytes = 100})); }
  {
    Segment reader =
        backend.attach({"pmem", pool.path(), "x"}, {.access = Access::read_only}).value();
    REQUIRE(reader.participant());
    CHECK(backup_pool(pool, dir / "b").value().versions == 1);
  }
  const Segment writer = backend.attach({"pmem", pool.path(), "x"}, {}).value();
  const auto refused = backup_pool(pool, dir / "c");
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::failed_precondition);
  CHECK(refused.error().message().find("in use by pid") != std::string::npos);
  CHECK(!os.stat(dir / "c"));
}

TEST_CASE("a_damaged_backup_is_refused_wherever_it_was_damaged") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p");
  REQUIRE(checkpoint(noise(KiB(70), 13), pool, "m"));
  REQUIRE(backup_pool(pool, dir / "b"));
  const auto good = read_file(dir / "b");
  std::uint64_t refused = 0;
  for (std::size_t at = 0; at < good.size(); at += 4001) {
    auto bad = good;
    bad[at] ^= std::byte{0x40};
    write_file(dir / "bad", bad);
    const auto restoring = restore_pool(os, dir / "bad", dir / "q");
    INFO(at);
    REQUIRE(!restoring);
    REQUIRE(!os.stat(dir / "q"));
    ++refused;
  }
  strata::report_verified(refused, "damaged backups refused");
  auto other_order = good;
  std::reverse(other_order.begin() + 8, other_order.begin() + 16);
  write_file(dir / "bad", other_order);
  CHECK(restore_pool(os, dir / "bad", dir / "q").error().code() == Code::unsupported);
  write_file(dir / "bad", {good.begin(), good.end() - 1});
  CHECK(restore_pool(os, dir / "bad", dir / "q").error().code() == Code::corrupt);
  write_file(dir / "bad", {});
  CHECK(restore_pool(os, dir / "bad", dir / "q").error().code() == Code::invalid_argument);
}

TEST_CASE("a_check_says_what_it_verified_and_info_tells_foreign_pools_apart") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p");
  REQUIRE(checkpoint(noise(KiB(200), 14), pool, "m"));
  const auto report = check_pool(os, pool.path()).value();
  CHECK(report.is_sound());
  CHECK(report.segments_checked == 1);
  CHECK(report.blocks_verified == 4);
  for (const CheckItem& item : report.items) {
    INFO(item.what << ": " << item.detail);
    CHECK(item.outcome == CheckOutcome::sound);
  }
  const PoolInfo info = inspect(os, pool.path()).value();
  CHECK(info.kind == "strata");
  CHECK(info.segments.size() == 1);
  for (const auto& [arguments, kind] : {std::pair{"obj --layout x ", "libpmemobj"},
                                        {"blk 512 ", "libpmemblk"},
                                        {"log ", "libpmemlog"}}) {
    const std::string path = dir / kind;
    REQUIRE(std::system(("pmempool create " + std::string(arguments) + path).c_str()) == 0);
    CHECK(inspect(os, path).value().kind == kind);
    CHECK(check_pool(os, path).error().code() == Code::unsupported);
  }
  write_file(dir / "text", noise(100, 1));
  CHECK(inspect(os, dir / "text").value().kind == "none");
}

TEST_CASE("a_pool_with_a_ruined_directory_is_repaired_from_its_segments") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p");
  PmemBackend backend(os);
  const auto content = noise(KiB(300), 15);
  REQUIRE(checkpoint(noise(KiB(300), 16), pool, "m"));
  REQUIRE(checkpoint(content, pool, "m"));
  { REQUIRE(backend.create({"pmem", pool.path(), "gone"}, {.payload_bytes = 10})); }
  REQUIRE(backend.remove({"pmem", pool.path(), "gone"}, {}));
  {
    const PoolFile file = PoolFile::open(os, pool.path(), Access::read_write).value();
    const auto garbage = noise(KiB(8), 17);
    REQUIRE(os.pwrite(file.fd.get(), garbage, file.directory_offset_bytes + 192));
  }
  CHECK(backend.attach({"pmem", pool.path(), "m"}, {.access = Access::read_only}).error().code() ==
        Code::corrupt);
  CHECK_FALSE(check_pool(os, pool.path()).value().is_sound());
  const auto repaired = repair_pool(os, pool.path(), {.in_place = true}).value();
  CHECK(repaired.directory_was_rebuilt);
  CHECK(repaired.versions_kept == 2);
  CHECK(os.stat(repaired.damaged_path));
  CHECK(restored(pool, "m") == content);
  CHECK(pool.entries().value().size() == 2);
  CHECK(check_pool(os, pool.path()).value().is_sound());
}

TEST_CASE("a_repair_drops_the_version_with_a_bad_block_and_keeps_the_others") {
  RealOs os;
  const TempDir dir;
  const Pool pool = make_pool(os, dir / "p");
  const auto old = noise(KiB(300), 18);
  REQUIRE(checkpoint(old, pool, "m"));
  REQUIRE(checkpoint(noise(KiB(300), 19), pool, "m"));
  flip(os, pool, "m", 1000);
  const auto repaired = repair_pool(os, pool.path(), {}).value();
  CHECK(repaired.versions_kept == 1);
  REQUIRE(repaired.lost.size() == 1);
  CHECK(repaired.lost[0].find("m version 2") != std::string::npos);
  CHECK(restored(Pool::open(os, repaired.path).value(), "m") == old);
}
