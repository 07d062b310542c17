// Pools whose libpmemobj heap is damaged: a change is refused or done, and never the end of the
// process that asked for it.
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "pmem/pool_testing.h"
#include "pmem/verified_reader.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/persistent.h"
#include "tests/catch.h"
#include "tests/skip.h"
#include "tests/thorough.h"
#include "tests/verified.h"

using namespace strata;
using strata::test::in_child;
using strata::test::make_pool;
using strata::test::TempDir;

namespace {

// Of libpmemobj 1.12: its pool descriptor says where the heap begins, which the lanes' logs end at;
// behind the heap's header stands the first zone, with a header for each chunk of 256 KiB.
constexpr std::uint64_t kDescriptorBytes = 8192;
constexpr std::uint64_t kHeapOffsetField = 4096 + 1024 + 16;
constexpr std::uint64_t kHeapHeaderBytes = 1024;
constexpr std::uint64_t kZoneHeaderBytes = 64;
constexpr std::uint64_t kChunkHeadersBytes = 65528 * 8;
constexpr std::uint64_t kChunkBytes = KiB(256);

struct Damage {
  std::uint64_t at;
  unsigned mask;
};
// In a lane's log, of a pool of 8 MiB: libpmemobj dies of SIGSEGV when it opens the pool.
constexpr Damage kKnownToKill = {2220302, 84};

void flip(const std::string& path, std::uint64_t at, unsigned mask) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ static_cast<int>(mask)));
}

std::uint64_t heap_offset_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(kHeapOffsetField);
  std::uint64_t offset = 0;
  file.read(reinterpret_cast<char*>(&offset), sizeof offset);
  return offset;
}

// What the change came to: 0 done, 1 refused as corrupt, 2 refused otherwise.
int change(const std::string& path) {
  RealOs os;
  const Pool pool = Pool::at(os, path);
  const std::vector<std::byte> content(70'000, std::byte{2});
  const auto made = checkpoint(content, pool, "m", {.threads = 1});
  const auto removed = pool.remove({.name = "x"});
  if (made && removed) return 0;
  return (made ? removed.error() : made.error()).code() == Code::corrupt ? 1 : 2;
}

using Block = std::array<std::byte, 5000>;

// The same for a program that owns the pool, with its own types.
int own(const std::string& path) {
  RealOs os;
  auto pool = pmem::pool<std::uint64_t>::open(os, path, "strata");
  if (!pool) return pool.error().code() == Code::corrupt ? 1 : 2;
  const auto done = pmem::transaction::run(*pool, []() -> Result<void> {
    STRATA_TRY(pmem::make_persistent<Block>());
    return {};
  });
  return done ? 0 : 2;
}

// The bytes of "m" if they are all one or all two; 0 if it cannot be read; -1 for anything else.
int value_of_m(const std::string& path) {
  RealOs os;
  const auto reader = VerifiedReader::open(Pool::at(os, path), "m", 0);
  if (!reader) return 0;
  for (std::uint64_t i = 0; i < reader->block_count(); ++i) {
    const auto block = reader->block(i);
    if (!block) return 0;
    for (const std::byte each : *block)
      if (each != (*block)[0]) return -1;
  }
  const auto first = static_cast<int>(reader->unverified()[0]);
  return first == 1 || first == 2 ? first : -1;
}

// Runs `use` in a child on copies of a pool that are damaged in one place each, of `one_in` such
// places: the child has to live on, and the pool to keep its content or to refuse it.
void damage_everywhere(int (*use)(const std::string& path), std::size_t one_in) {
  RealOs os;
  const TempDir dir("/dev/shm");
  const Pool pool = make_pool(os, dir / "sample", MiB(8));
  REQUIRE(checkpoint(std::vector<std::byte>(70'000, std::byte{1}), pool, "m"));
  REQUIRE(checkpoint(std::vector<std::byte>(3'000, std::byte{1}), pool, "x"));
  const std::uint64_t heap = heap_offset_of(pool.path());
  REQUIRE(heap < MiB(8));
  const std::uint64_t zone = heap + kHeapHeaderBytes;
  const std::uint64_t chunks = zone + kZoneHeaderBytes + kChunkHeadersBytes;
  const std::uint64_t chunk_count = (MiB(8) - chunks) / kChunkBytes;
  std::mt19937 random(20260101);
  INFO("seed 20260101");
  std::vector<Damage> damages = {kKnownToKill};
  const auto damage_each = [&](std::uint64_t from, std::uint64_t to, std::uint64_t step) {
    for (std::uint64_t at = from; at < to; at += step)
      damages.push_back({at, 1 + static_cast<unsigned>(random() % 255)});
  };
  damage_each(0, kDescriptorBytes, 31);
  damage_each(kDescriptorBytes, heap, (heap - kDescriptorBytes) / 300);  // logs, one per lane
  damage_each(heap, zone, 13);
  damage_each(zone, zone + 8, 1);
  damage_each(zone + kZoneHeaderBytes, zone + kZoneHeaderBytes + chunk_count * 8, 1);
  // The heads of runs, and of large objects, are at the start of their chunks.
  for (std::uint64_t chunk = 0; chunk < chunk_count; ++chunk)
    damage_each(chunks + chunk * kChunkBytes, chunks + chunk * kChunkBytes + 24, 2);
  std::array<std::uint64_t, 3> outcomes{};
  std::uint64_t tries = 0;
  for (std::size_t i = 0; i < damages.size(); i += one_in, ++tries) {
    const auto [at, mask] = damages[i];
    std::filesystem::copy_file(pool.path(), dir / "p",
                               std::filesystem::copy_options::overwrite_existing);
    flip(dir / "p", at, mask);
    const int status = in_child([&] { return use(dir / "p"); });
    INFO("byte " << at << ", mask " << mask << ", wait status " << status);
    REQUIRE(WIFEXITED(status));
    ++outcomes[static_cast<std::size_t>(WEXITSTATUS(status))];
    REQUIRE(value_of_m(dir / "p") >= 0);
  }
  std::printf("changed %lu, corrupt %lu, refused otherwise %lu\n", outcomes[0], outcomes[1],
              outcomes[2]);
  report_verified(tries, "flipped bytes in pools");
}

}  // namespace

TEST_CASE("damage_in_libpmemobjs_heap_never_ends_the_process_that_changes_the_pool") {
  damage_everywhere(change, test::one_in(4));
}

TEST_CASE("damage_in_libpmemobjs_heap_never_ends_the_process_that_owns_the_pool") {
  damage_everywhere(own, 8 * test::one_in(4));
}

TEST_CASE("a_damaged_pool_in_the_place_of_one_that_was_trusted_is_looked_at_again") {
  RealOs os;
  const TempDir dir;
  make_pool(os, dir / "damaged", MiB(8));
  flip(dir / "damaged", kKnownToKill.at, kKnownToKill.mask);
  constexpr int kAnotherNumber = 3;
  const int status = in_child([&] {
    make_pool(os, dir / "p", MiB(8));
    const ino_t trusted = os.stat(dir / "p").value().st_ino;
    std::filesystem::remove(dir / "p");
    std::filesystem::copy_file(dir / "damaged", dir / "p");
    if (os.stat(dir / "p").value().st_ino != trusted) return kAnotherNumber;
    return change(dir / "p");
  });
  INFO("wait status " << status);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kAnotherNumber) {
    SKIP_TEST("the file system of /tmp does not give the number of a deleted file out again");
  }
  CHECK(WEXITSTATUS(status) == 1);
}
