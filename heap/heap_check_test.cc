// Damage of every kind, planted byte by byte: check() finds it, and nothing follows it.
#include <random>

#include "heap/heap_core.h"
#include "heap/heap_testing.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;
using namespace strata::heap_layout;
using Kind = HeapFinding::Kind;

namespace {

struct Damaged {
  Damaged() : heap(Heap::create(host.segment()).value()) {
    for (int i = 0; i < 100; ++i)
      blocks.push_back(heap.allocate(64).value());
    large = heap.allocate(KiB(600)).value();
    middle = heap.allocate(KiB(80)).value();
    for (int i = 0; i < 10; ++i)
      STRATA_CHECK(heap.make<int>("name " + std::to_string(i), i).has_value());
    heap.release_thread_cache();
    STRATA_CHECK(heap.check().value().is_clean());
  }
  HeapHeader& header() { return heap.core().header(); }
  Descriptor& descriptor(Offset<std::byte> block) {
    const RegionLayout region{header().identity.region_units};
    return *reinterpret_cast<Descriptor*>(heap.base() + region.kDescriptorsAt +
                                          block.bytes / kUnitBytes * sizeof(Descriptor));
  }
  void change(Offset<std::byte> block, void (*edit)(UnitState&)) {
    Word& word = descriptor(block).state;
    UnitState state = UnitState::of(word.load());
    edit(state);
    word.store(state.word());
  }
  bool finds(Kind kind) {
    const HeapReport report = heap.check().value();
    INFO(report.to_string());
    for (const HeapFinding& finding : report.findings) {
      if (finding.kind == kind) return !report.is_clean();
    }
    UNSCOPED_INFO(report.to_string());
    return false;
  }

  HeapHost host;
  Heap heap;
  std::vector<Offset<std::byte>> blocks;
  Offset<std::byte> large, middle;
};

}  // namespace

TEST_CASE("check_finds_a_damaged_header") {
  Damaged damaged;
  damaged.header().identity.class_count = 7;
  CHECK(damaged.finds(Kind::header));
}

TEST_CASE("check_finds_a_limit_beyond_the_segment") {
  Damaged damaged;
  damaged.header().unit_limit.store(1'000'000);
  CHECK(damaged.finds(Kind::header));
  CHECK(damaged.heap.free(Offset<std::byte>{MiB(100)}).error().code() == Code::invalid_argument);
}

TEST_CASE("check_finds_descriptors_that_no_operation_leaves") {
  void (*const edits[])(UnitState&) = {
      [](UnitState& state) { state.kind = static_cast<UnitKind>(9); },
      [](UnitState& state) { state.kind = UnitKind::meta; },
      [](UnitState& state) { state.size_class = 110; },
      [](UnitState& state) { state.units += 1; },
      [](UnitState& state) { state.units = 0xFFFFF; },
      [](UnitState& state) { state.owner = 60'000; },
      [](UnitState& state) { state.owner = 17; },
  };
  for (const auto edit : edits) {
    Damaged damaged;
    damaged.change(damaged.middle, edit);
    CHECK(damaged.finds(Kind::descriptor));
    // And it is never followed: this may fail, but only with an error.
    (void)damaged.heap.free(damaged.middle);
    (void)damaged.heap.allocate(KiB(80));
  }
}

TEST_CASE("check_finds_overlapping_spans_and_lost_units") {
  {
    Damaged damaged;
    // A head in the middle of another span.
    const std::uint64_t inside = damaged.large.bytes + 2 * kUnitBytes;
    damaged.change(Offset<std::byte>{inside}, [](UnitState& state) {
      state = {.kind = UnitKind::head, .size_class = 3, .units = 1};
    });
    CHECK(damaged.finds(Kind::descriptor));
  }
  {
    Damaged damaged;
    // A span that lost its head.
    damaged.change(damaged.large, [](UnitState& state) { state = {}; });
    CHECK(damaged.finds(Kind::descriptor));
    CHECK(damaged.heap.free(damaged.large).error().code() == Code::invalid_argument);
  }
}

TEST_CASE("check_finds_states_of_blocks_that_do_not_exist") {
  Damaged damaged;
  damaged.descriptor(damaged.large).words[0].others.store(0xFFFF);
  CHECK(damaged.finds(Kind::bitmap));
}

TEST_CASE("check_finds_a_map_of_units_that_lags_and_calls_it_harmless") {
  Damaged damaged;
  const RegionLayout region{damaged.header().identity.region_units};
  auto* const used = reinterpret_cast<Word*>(damaged.heap.base() + region.used_units_at());
  used->store(~used->load());
  CHECK(damaged.finds(Kind::hint));
  CHECK(damaged.heap.check().value().is_consistent());
}

TEST_CASE("check_finds_impossible_slots") {
  Damaged damaged;
  auto* const slots = reinterpret_cast<Slot*>(damaged.heap.base() + RegionLayout::kSlotsAt);
  slots[300].owner.store(1);
  slots[300].intent.store(damaged.blocks[0].bytes | 9);
  slots[300].place.store(std::uint64_t{1} << 50);
  slots[300].record.store(12345);
  CHECK(damaged.finds(Kind::slot));
  // The generation is wrong, so that its owner counts as dead; recovery survives what it says.
  CHECK(damaged.finds(Kind::dead_owner));
  (void)damaged.heap.recover();
  CHECK(damaged.heap.allocate(64));
}

TEST_CASE("check_finds_damaged_names") {
  const auto table = [](Damaged& damaged) {
    const std::uint64_t root = damaged.header().names.root.load();
    return std::pair(reinterpret_cast<NameCell*>(damaged.heap.base() + (root & 0xFFFF'FFFF'FFC0)),
                     std::uint64_t{1} << (root & 63));
  };
  const auto first = [&](Damaged& damaged) -> NameCell& {
    auto [cells, count] = table(damaged);
    for (std::uint64_t i = 0; i < count; ++i) {
      if (cells[i].record.load() != 0) return cells[i];
    }
    throw 1;
  };
  {
    Damaged damaged;
    first(damaged).record.store(0x1000'0000'0000);
    CHECK(damaged.finds(Kind::name));
    for (int i = 0; i < 10; ++i)
      (void)damaged.heap.find<int>("name " + std::to_string(i));
  }
  {
    Damaged damaged;
    auto* const record = reinterpret_cast<NameRecord*>(
        damaged.heap.base() + (first(damaged).record.load() & 0xFFFF'FFFF'FFFF));
    record->bytes = 1'000'000;
    CHECK(damaged.finds(Kind::name));
    record->name_bytes = 60'000;
    CHECK(damaged.finds(Kind::name));
    for (int i = 0; i < 10; ++i)
      (void)damaged.heap.find<int>("name " + std::to_string(i));
  }
  {
    Damaged damaged;
    first(damaged).hash.store(1);
    CHECK(damaged.finds(Kind::name));
  }
  {
    Damaged damaged;
    damaged.header().names.root.store(0x7000'0000'0000 | 8);
    CHECK(damaged.finds(Kind::name));
    CHECK(damaged.heap.find<int>("name 1").error().code() == Code::corrupt);
    CHECK(damaged.heap.make<int>("other", 1).error().code() == Code::corrupt);
    CHECK(damaged.heap.objects().error().code() == Code::corrupt);
  }
}

TEST_CASE("check_finds_a_lock_word_that_no_operation_makes") {
  Damaged damaged;
  reinterpret_cast<Word&>(damaged.header().units_lock).store(std::uint64_t{1} << 30);
  CHECK(damaged.finds(Kind::lock));
}

TEST_CASE("check_finds_what_a_dead_process_holds_and_recover_takes_it") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  CHECK(was_killed(in_child([&] {
    Opened mine(host);
    (void)mine.heap.allocate_to(*mine.heap.root(0), 64);
    die();
  })));
  const HeapReport before = heap.check().value();
  CHECK(before.is_consistent());
  CHECK_FALSE(before.is_clean());
  const RecoveryReport recovered = heap.recover().value();
  CHECK(recovered.slots == 1);
  CHECK(recovered.spans == 1);
  CHECK(heap.check().value().is_clean());
  CHECK(heap.check().value().allocated_blocks == 1);
}

TEST_CASE("random_damage_never_leads_outside_the_heap") {
  const unsigned seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 60; ++round) {
    Damaged damaged;
    std::byte* const base = damaged.heap.base();
    // Tables, slots, header beyond the locks, and the records of names; never the lock words, whose
    // owner might then be a live process that is waited for.
    for (int i = 0; i < 40; ++i) {
      std::uint64_t at = 2048 + random() % (KiB(128) - 2048);
      if (random() % 4 == 0) at = MiB(1) / 8 + random() % KiB(900);
      base[at] = static_cast<std::byte>(random());
    }
    (void)damaged.heap.check();
    (void)damaged.heap.inspect();
    (void)damaged.heap.objects();
    (void)damaged.heap.blocks();
    (void)damaged.heap.recover();
    for (const auto block : damaged.blocks)
      (void)damaged.heap.free(block);
    for (int i = 0; i < 50; ++i) {
      if (const auto block = damaged.heap.allocate(1 + random() % 100'000)) {
        // Whatever it says, it is inside.
        REQUIRE(block->bytes < MiB(4));
      }
      (void)damaged.heap.find<int>("name " + std::to_string(i % 12));
    }
  }
}

TEST_CASE("inspect_tells_use_by_class_node_and_unit") {
  HeapHost host(MiB(8));
  Heap heap =
      Heap::create(host.segment(),
                   {.region_bytes = 0,
                    .nodes = {{.first_bytes = 0, .node = 1}, {.first_bytes = MiB(4), .node = 0}}})
          .value();
  for (int i = 0; i < 1000; ++i)
    STRATA_CHECK(heap.allocate(64).has_value());
  STRATA_CHECK(heap.allocate(MiB(1)).has_value());
  const HeapUsage usage = heap.inspect().value();
  CHECK(usage.payload_bytes == MiB(8));
  CHECK(usage.allocated_bytes == 64'000 + MiB(1));
  CHECK(usage.span_bytes == kUnitBytes + MiB(1));
  CHECK(usage.free_unit_bytes + usage.span_bytes + usage.table_bytes == MiB(8));
  REQUIRE(usage.nodes.size() == 2);
  // Threads take memory of the node that they run on: this machine's node 0 lies at 4 MiB.
  CHECK(usage.nodes[0].node == 0);
  CHECK(usage.nodes[0].used_units >= 1);
  CHECK(usage.nodes[0].units == 64);
  REQUIRE(usage.classes.size() == 2);
  CHECK(usage.classes[1].block_bytes == 64);
  CHECK(usage.classes[1].allocated_blocks == 1000);
  CHECK(usage.unit_fill.size() == 128);
  CHECK(usage.unit_fill[0] == 255);
  CHECK(usage.threads == 1);
}
