// Kills at every step of cells: SeqLock, LatestValue, sharded counters, VersionedCell, Published.
#include <array>
#include <string>
#include <string_view>

#include "strata/sync/latest_value.h"
#include "strata/sync/published.h"
#include "strata/sync/seq_lock.h"
#include "strata/sync/sharded.h"
#include "strata/sync/versioned_cell.h"
#include "sync/kill_testing.h"

using namespace strata;
using namespace strata::test;

namespace {

struct Cells {
  struct Pair {
    std::uint64_t a = 0, b = 0;
  };
  SeqCell<Pair> pair;
  VersionedCell versioned;
  ShardedCounter<4> counter;
  Published published;
  std::uint64_t data = 0;
};

}  // namespace

TEST_CASE("a_process_killed_at_any_step_of_a_cell_leaves_old_or_new") {
  const auto check_pair = [](Cells& state, const Party& us) {
    const auto before = state.pair.read(us.context, Deadline::after_ms(1));
    if (before) {
      CHECK(before->a == before->b);
    } else {
      CHECK(before.error().code() == Code::not_ready);
    }
    REQUIRE(state.pair.write(us.context, {7, 7}, soon()));
    const auto after = state.pair.read(us.context, now());
    REQUIRE(after);
    CHECK((after->a == 7 && after->b == 7));
    CHECK(state.pair
              .update(
                  us.context, [](Cells::Pair& pair) { ++pair.a, ++pair.b; }, soon())
              .value() == Acquired::clean);
  };
  kill_at_every_step<Cells>(
      "seqlock: write", {.operate =
                             [](Cells& state, const Party& me, const auto& arm) {
                               arm();
                               need(state.pair.write(me.context, {3, 3}, soon()).has_value(), 10);
                             },
                         .check = check_pair});
  kill_at_every_step<Cells>("seqlock: update after a writer died in the middle",
                            {.prepare =
                                 [](Cells& state, const Party&) {
                                   const std::uint64_t dead = std::uint64_t{1} << 32 | 9, odd = 5,
                                                       torn = 1;
                                   auto* bytes = reinterpret_cast<std::byte*>(&state.pair);
                                   std::memcpy(bytes, &dead, 8);
                                   std::memcpy(bytes + 64, &odd, 8);
                                   std::memcpy(bytes + 128, &torn, 8);
                                 },
                             .operate =
                                 [](Cells& state, const Party& me, const auto& arm) {
                                   arm();
                                   const auto how = state.pair.update(
                                       me.context,
                                       [](Cells::Pair& pair) {
                                         pair = {4, 4};
                                       },
                                       soon());
                                   need(how.has_value() && *how == Acquired::owner_died, 10);
                                 },
                             .check = check_pair});
  kill_at_every_step<Cells>("seqlock: read",
                            {.operate =
                                 [](Cells& state, const Party& me, const auto& arm) {
                                   arm();
                                   need(state.pair.read(me.context, soon()).has_value(), 10);
                                 },
                             .check = check_pair});
  kill_at_every_step<Cells>(
      "versioned cell, sharded counter, published word",
      {.operate =
           [](Cells& state, const Party&, const auto& arm) {
             arm();
             auto seen = state.versioned.load();
             need(state.versioned.compare_exchange(seen, 5), 10);
             state.counter.add(1);
             state.data = 42;
             state.published.publish(1);
           },
       .check =
           [](Cells& state, const Party&) {
             const auto seen = state.versioned.load();
             CHECK(seen.value == (seen.version == 0 ? 0 : 5));
             CHECK((seen.version == 1 || state.counter.total() == 0));
             CHECK((state.counter.total() == 1 || state.published.consume() == 0));
             if (state.published.consume() == 1) CHECK(state.data == 42);
           }});
}

TEST_CASE("a_writer_killed_at_any_step_leaves_the_latest_value_or_its_own") {
  struct alignas(64) Words {
    std::byte bytes[1024] = {};
  };
  const auto write = [](Words& state, const Party& who, std::string_view value) {
    auto latest = LatestValue::open(state.bytes);
    return latest && latest->write(who.context, std::as_bytes(std::span(value)), soon());
  };
  const auto read = [](Words& state) {
    std::array<std::byte, 64> into{};
    const auto got = LatestValue::open(state.bytes)->read(into, now());
    if (!got) return std::string("none");
    return std::to_string(got->version) + " " +
           std::string(reinterpret_cast<const char*>(into.data()), got->bytes);
  };
  const std::string old(30, 'o'), its(40, 'i'), next(20, 'n');
  kill_at_every_step<Words>("latest value: write",
                            {.prepare =
                                 [&](Words& state, const Party& us) {
                                   REQUIRE(format_latest_value(state.bytes, 64));
                                   REQUIRE(write(state, us, old));
                                 },
                             .operate =
                                 [&](Words& state, const Party& me, const auto& arm) {
                                   arm();
                                   need(write(state, me, its), 10);
                                 },
                             .check =
                                 [&](Words& state, const Party& us) {
                                   const std::string got = read(state);
                                   CHECK((got == "1 " + old || got == "2 " + its));
                                   REQUIRE(write(state, us, next));
                                   CHECK(read(state) == (got[0] == '1' ? "2 " : "3 ") + next);
                                 }});
}
