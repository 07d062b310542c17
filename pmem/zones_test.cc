#include "pmem/zones.h"

#include "strata/base/bytes.h"
#include "tests/catch.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kHeapAt = kNewPoolHeapOffsetBytes;
constexpr std::uint64_t kZoneBytes = 17'178'296'320;
constexpr std::uint64_t kZonesAt = kHeapAt + 1024;

bool overflows(std::uint64_t file_bytes) {
  return has_overflowing_zone(file_bytes, kHeapAt, file_bytes / 4096 * 4096 - kHeapAt);
}

}  // namespace

TEST_CASE("zones_overflow_just_above_a_whole_number_of_them") {
  // As seen in pools that libpmemobj 1.12.1 died of.
  CHECK(overflows(17'181'716'480));
  CHECK(overflows(17'182'236'671));
  CHECK(overflows(MiB(16'386)));
  CHECK_FALSE(overflows(17'181'716'479));
  CHECK_FALSE(overflows(MiB(8)));
  CHECK_FALSE(overflows(MiB(64)));
  CHECK_FALSE(overflows(GiB(16)));
  CHECK_FALSE(overflows(GiB(20)));
  for (const std::uint64_t zones : {1, 2, 7}) {
    const std::uint64_t end = kZonesAt + zones * kZoneBytes;
    CHECK_FALSE(overflows(end + KiB(252)));
    CHECK(overflows(end + KiB(260)));
    CHECK(overflows(end + KiB(764)));
    CHECK_FALSE(overflows(end + KiB(772)));
  }
}

TEST_CASE("a_file_that_is_longer_than_its_heap_by_a_zone_overflows_too") {
  CHECK(has_overflowing_zone(GiB(20), kHeapAt, GiB(1)));
  CHECK_FALSE(has_overflowing_zone(GiB(2), kHeapAt, GiB(1)));
  CHECK_FALSE(has_overflowing_zone(GiB(20), kHeapAt, 0));
  CHECK(has_overflowing_zone(MiB(16'386), kHeapAt, 0));
}

TEST_CASE("a_usable_size_is_the_largest_up_to_what_was_asked_for_that_does_not_overflow") {
  for (const std::uint64_t zones : {0, 1, 2, 5}) {
    const std::uint64_t end = kZonesAt + zones * kZoneBytes;
    for (std::uint64_t bytes = end + KiB(200); bytes < end + KiB(900); bytes += 1021) {
      const std::uint64_t usable = usable_pool_bytes(bytes);
      INFO("bytes " << bytes << ", usable " << usable);
      REQUIRE(usable <= bytes);
      REQUIRE_FALSE(overflows(usable));
      if (!overflows(bytes)) REQUIRE(usable == bytes);
      if (usable != bytes) REQUIRE(overflows(usable + 4096));
    }
  }
  CHECK(usable_pool_bytes(GiB(1)) == GiB(1));
  CHECK(usable_pool_bytes(MiB(16'386)) == 17'181'712'384);
}

}  // namespace strata::inline v0_1
