// Power failures of pool operations: at every sync and every drain, ours and libpmemobj's, what is
// left of the pool must be its old state or its new one.
//
// STRATA_CRASH_ONE_IMAGE_IN=8 looks at every eighth image only, where machines are slow.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "pmem/crash_medium.h"
#include "pmem/pmem_backend.h"
#include "pmem/pool_testing.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/snapshot.h"
#include "tests/catch.h"
#include "tests/thorough.h"
#include "tests/verified.h"

using namespace strata;
using strata::test::CrashMedium;
using strata::test::make_pool;
using strata::test::TempDir;

namespace {

Result<void> put_pair(const Pool& pool, long value) {
  std::vector<StagedSegment> pair;
  for (const char* name : {"a", "b"}) {
    STRATA_ASSIGN(StagedSegment staged, pool.stage({.name = name, .payload_bytes = 9000}));
    for (std::size_t at = 0; at + sizeof value <= staged.payload().size(); at += sizeof value)
      std::memcpy(staged.payload().data() + at, &value, sizeof value);
    pair.push_back(std::move(staged));
  }
  return pool.publish(pair);
}

void work(const Pool& pool, PmemBackend& backend, CrashMedium& watched) {
  const auto uri = [&](const char* name) { return SegmentUri{"pmem", pool.path(), name}; };
  for (long value = 0; value < 2; ++value) {
    REQUIRE(put_pair(pool, value));
    watched.acknowledge(value);
  }
  {
    Segment made = backend.create(uri("c"), {.payload_bytes = 5000, .max_bytes = 20000}).value();
    REQUIRE(made.grow(12000));
  }
  REQUIRE(pool.resize("c", 50000));
  REQUIRE(pool.rename("c", "d"));
  std::vector<std::byte> content(20000, std::byte{3});
  for (int i = 0; i < 3; ++i) {
    content[static_cast<std::size_t>(i) * 5000] ^= std::byte{1};
    REQUIRE(checkpoint(content, pool, "m", {.block_bytes = 4096, .keep_versions = 1}));
  }
  REQUIRE(pool.rollback("m", 0));
  REQUIRE(snapshot_pool(pool, pool.path() + ".copy"));
  REQUIRE(clone_segment(pool, "m", 0, "n"));
  REQUIRE(backend.remove(uri("d"), {}));
  REQUIRE(pool.trim("m", 0));
}

unsigned one_image_in() {
  const char* const asked = std::getenv("STRATA_CRASH_ONE_IMAGE_IN");
  if (asked == nullptr) return static_cast<unsigned>(test::one_in(4));
  return std::max(1U, static_cast<unsigned>(std::atoi(asked)));
}

struct Run {
  std::uint64_t images = 0;
  std::uint64_t bad = 0;
  std::uint64_t drains = 0;
};

Run run(test::CrashMediumOptions options) {
  RealOs os;
  const TempDir dir("/dev/shm");
  const Pool pool = make_pool(os, dir / "p", MiB(8));
  PmemBackend backend(os);
  options.one_image_in *= one_image_in();
  CrashMedium watched(pool.path(), dir / "image", options);
  work(pool, backend, watched);
  return {watched.images(), watched.bad(), watched.drains()};
}

}  // namespace

TEST_CASE("every_crash_image_of_every_pool_operation_is_the_old_state_or_the_new") {
  REQUIRE(std::getenv("STRATA_CRASH_ORACLE") != nullptr);
  const Run done = run({});
  CHECK(done.bad == 0);
  CHECK(done.images > 100 / one_image_in());
  // What was asked for by the environment is what was tested.
  const char* const granularity = std::getenv("STRATA_CRASH_GRANULARITY");
  if (granularity != nullptr) CHECK((done.drains > 0) == (granularity == std::string("line")));
  strata::report_verified(done.images, "crash images");
}

TEST_CASE("crash_images_with_words_that_were_written_out_early_are_sound_too") {
  // What is written out early differs each time: every fourth image is enough.
  const Run done = run({.evict_per_mille = 300, .seed = 7, .one_image_in = 4});
  CHECK(done.bad == 0);
  CHECK(done.images > 50 / one_image_in());
  strata::report_verified(done.images, "crash images");
}

TEST_CASE("the_oracle_finds_it_when_syncs_are_missing") {
  // Where a few syncs are missing, a sample of the images may miss that; of many, none does.
  std::uint64_t bad = 0;
  for (const std::uint32_t forget_one_in : {5U, 3U, 2U, 1U}) {
    bad += run({.one_image_in = 4, .forget_one_in = forget_one_in}).bad;
    if (bad > 0) break;
  }
  CHECK(bad > 0);
}
