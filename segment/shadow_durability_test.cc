#include "segment/shadow_durability.h"

#include <array>
#include <cstring>

#include "tests/catch.h"

using namespace strata;

namespace {

struct alignas(64) Live {
  std::array<std::byte, 4096> bytes{};
  std::span<std::byte> span() { return bytes; }
};

}  // namespace

TEST_CASE("the_image_receives_what_was_flushed_and_drained_and_nothing_else") {
  RealOs os;
  Live live;
  ShadowDurability shadow(os, live.span(), {});
  live.bytes[0] = live.bytes[64] = live.bytes[128] = std::byte{1};
  shadow.flush(&live.bytes[0], 1);
  CHECK(shadow.image()[0] == std::byte{0});
  REQUIRE(shadow.drain());
  CHECK(shadow.image()[0] == std::byte{1});
  CHECK(shadow.image()[64] == std::byte{0});
  live.bytes[64] = std::byte{2};
  shadow.flush(&live.bytes[64], 1);
  live.bytes[64] = std::byte{3};  // after the flush: needs another one
  REQUIRE(shadow.drain());
  CHECK(shadow.image()[64] == std::byte{2});
  shadow.lose_power();
  CHECK(live.bytes[64] == std::byte{2});
  CHECK(live.bytes[128] == std::byte{0});
}

TEST_CASE("a_flush_takes_whole_units_of_the_granularity") {
  RealOs os;
  Live live;
  ShadowDurability shadow(os, live.span(), {.granularity_bytes = 4096});
  live.bytes[4095] = std::byte{1};
  REQUIRE(shadow.persist(&live.bytes[0], 1));
  CHECK(shadow.image()[4095] == std::byte{1});
}

TEST_CASE("evicted_units_reach_the_image_unasked") {
  RealOs os;
  Live live;
  ShadowDurability shadow(os, live.span(), {.evict_per_mille = 300, .seed = 5});
  std::memset(live.bytes.data(), 7, live.bytes.size());
  std::uint64_t images = 0;
  shadow.watch([&](std::span<std::byte>) { ++images; });
  REQUIRE(shadow.drain());
  int evicted = 0;
  for (const std::byte value : shadow.image())
    evicted += value == std::byte{7};
  CHECK(evicted % 64 == 0);
  CHECK(evicted > 0);
  CHECK(evicted < 4096);
  CHECK(images == 2);  // before and after
}

TEST_CASE("an_older_flush_never_overwrites_a_newer_one_of_another_thread") {
  RealOs os;
  Live live;
  ShadowDurability shadow(os, live.span(), {});
  live.bytes[0] = std::byte{1};
  shadow.flush(&live.bytes[0], 1);
  std::thread([&] {
    live.bytes[0] = std::byte{2};
    (void)shadow.persist(&live.bytes[0], 1);
  }).join();
  CHECK(shadow.image()[0] == std::byte{2});
  REQUIRE(shadow.drain());
  CHECK(shadow.image()[0] == std::byte{2});
}

TEST_CASE("the_oracle_gets_a_copy_that_it_may_change") {
  RealOs os;
  Live live;
  ShadowDurability shadow(os, live.span(), {});
  shadow.watch([](std::span<std::byte> image) { image[0] = std::byte{9}; });
  REQUIRE(shadow.drain());
  CHECK(shadow.image()[0] == std::byte{0});
  CHECK(shadow.images() == 1);
}

TEST_CASE("a_failed_drain_makes_nothing_durable") {
  RealOs os;
  Live live;
  ShadowDurability shadow(os, live.span(), {});
  shadow.fail_drain_at(1);
  live.bytes[0] = std::byte{1};
  CHECK(!shadow.persist(&live.bytes[0], 1));
  CHECK(shadow.image()[0] == std::byte{0});
  CHECK(shadow.persist(&live.bytes[0], 1));
}
