// Kills a process at every step of every operation on a heap, lets another one go on, and compares
// what is there with what has to be. No step is left out: an operation is first run whole to count
// them.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "heap/heap_core.h"
#include "heap/heap_testing.h"
#include "strata/base/step.h"
#include "tests/catch.h"
#include "tests/verified.h"
#include "transaction/block_actions.h"

namespace strata::inline v0_1::test {

using Block = Offset<std::byte>;

constexpr unsigned kRecoverersRoot = 5;  // holds what a killed recoverer had allocated

inline void must(bool done) { STRATA_CHECK(done); }

struct Total {
  std::uint64_t kill_points = 0;
  ~Total() { report_verified(kill_points, "kill points"); }
};
inline Total total;

inline std::uint64_t root_of(Heap& heap, unsigned index) { return heap.root(index)->bytes; }

// How many blocks an operation may have added by the time it is killed, given what can be seen:
// an exact number, except where the only trace of a block was in the dead process.
struct Expected {
  std::int64_t fewest;
  std::int64_t most;
};

struct Operation {
  const char* name;
  // Makes the world, as another process would have left it. Roots hold what run() needs.
  std::function<void(Heap&)> prepare = [](Heap&) {};
  // In the process to be killed, before the steps count.
  std::function<void(Heap&)> warm_up = [](Heap&) {};
  std::function<void(Heap&)> run;
  std::function<Expected(Heap&)> expected;
  std::uint64_t bytes = MiB(2);
  std::uint64_t max_bytes = 0;
  bool leaves_it_full = false;  // so that the survivor cannot count on memory
};

// Runs the operation in a process that dies at step `n` (0: not at all); returns the steps passed.
struct Outcome {
  bool was_killed;
  std::uint64_t steps;
};
inline Outcome run_and_kill(HeapHost& host, const Operation& operation, std::uint64_t n) {
  const Shared<std::atomic<std::uint64_t>> steps;
  const int status = in_child([&] {
    Opened mine(host);
    operation.warm_up(mine.heap);
    kill_at_step(n);
    operation.run(mine.heap);
    *steps = steps_passed();
    kill_at_step(0);
    // As if it were killed right after: nothing is closed.
    if (n == 0) die();
    _exit(7);
  });
  return {was_killed(status), steps->load()};
}

// A test's transactions keep their log in root 8: the block that they have in hand.
inline void install_recovery(Heap& heap) {
  heap.core().on_recovery([&heap](std::uint32_t) -> Result<void> {
    BlockActions& actions = heap.block_actions();
    const std::uint64_t block = root_of(heap, 8);
    if (block != 0 && actions.state(block)) {
      (void)actions.change(block, BlockState::tentative, BlockState::free);
    }
    return {};
  });
}

// What has to hold after a kill, for a process that was there before and goes on.
inline void survive(HeapHost& host, Heap& heap, const Operation& operation,
                    std::uint64_t blocks_before) {
  // It goes on before anybody cleans up.
  std::vector<Block> mine;
  for (const std::uint64_t bytes : {64, 64, 500, 3000, 70'000}) {
    if (auto block = heap.allocate(bytes)) mine.push_back(*block);
  }
  if (!operation.leaves_it_full) REQUIRE(mine.size() >= 4);
  for (const Block block : mine)
    REQUIRE(heap.free(block));
  install_recovery(heap);
  const auto recovered = heap.recover();
  INFO((recovered ? std::string() : recovered.error().to_string()));
  REQUIRE(recovered);
  CHECK(recovered->deferred_slots == 0);
  // Whatever lock the dead process held is repaired by its next owner.
  (void)heap.remove("no such name");
  if (const auto more = heap.allocate(100'000)) {
    REQUIRE(heap.free(*more));
  } else {
    CHECK(operation.leaves_it_full);
  }
  heap.release_thread_cache();
  const HeapReport report = heap.check().value();
  INFO(report.to_string());
  CHECK(report.is_clean());
  const Expected expected = operation.expected(heap);
  const std::uint64_t recoverers = root_of(heap, kRecoverersRoot) != 0 ? 1 : 0;
  const auto difference = static_cast<std::int64_t>(report.allocated_blocks - recoverers) -
                          static_cast<std::int64_t>(blocks_before);
  CHECK(difference >= expected.fewest);
  CHECK(difference <= expected.most);
  // Everything can be freed, and then nothing is missing.
  const std::vector<ObjectInfo> objects = heap.objects().value();
  for (const ObjectInfo& object : objects)
    REQUIRE(heap.remove(object.name));
  const std::vector<BlockInfo> blocks = heap.blocks().value();
  for (const BlockInfo& block : blocks) {
    const BlockState state = heap.block_actions().state(block.offset_bytes).value();
    if (state == BlockState::freeing) {
      REQUIRE(heap.block_actions().change(block.offset_bytes, state, BlockState::free).value());
    } else if (block.offset_bytes != (heap.core().header().names.root.load() & 0xFFFFFFFFFFC0)) {
      REQUIRE(heap.free(Block{block.offset_bytes}));
    }
  }
  heap.release_thread_cache();
  REQUIRE(heap.recover());
  const HeapUsage usage = heap.inspect().value();
  CHECK(heap.check().value().allocated_blocks <= 1);  // the table of names
  CHECK(usage.free_unit_bytes + usage.table_bytes + (usage.names == 0 ? 1 : 0) * usage.span_bytes ==
        usage.unit_fill.size() * heap_layout::kUnitBytes);
  CHECK(usage.span_bytes <= heap_layout::kUnitBytes);
  (void)host;
}

struct World {
  explicit World(const Operation& operation)
      : host(operation.bytes, operation.max_bytes), heap(Heap::create(host.segment()).value()) {
    operation.prepare(heap);
    heap.release_thread_cache();
    blocks = heap.check().value().allocated_blocks;
  }
  HeapHost host;
  Heap heap;
  std::uint64_t blocks;
};

inline void kill_everywhere(const Operation& operation) {
  std::uint64_t steps;
  {
    World world(operation);
    const Outcome whole = run_and_kill(world.host, operation, 0);
    REQUIRE(whole.was_killed);
    steps = whole.steps;
    INFO(operation.name << " whole");
    survive(world.host, world.heap, operation, world.blocks);
  }
  REQUIRE(steps > 0);
  for (std::uint64_t n = 1; n <= steps; ++n) {
    INFO(operation.name << " killed at step " << n << " of " << steps);
    World world(operation);
    const Outcome outcome = run_and_kill(world.host, operation, n);
    REQUIRE(outcome.was_killed);
    survive(world.host, world.heap, operation, world.blocks);
    ++total.kill_points;
  }
  std::printf("%s: %llu steps\n", operation.name, static_cast<unsigned long long>(steps));
}

// Kills the process at step n, then the one that cleans up after it at each of its steps.
inline void kill_recoverer_everywhere(const Operation& operation) {
  for (std::uint64_t n = 1;; ++n) {
    std::uint64_t recovery_steps = 1;
    for (std::uint64_t m = 0; m <= recovery_steps; ++m) {
      INFO(operation.name << " killed at step " << n << ", its recoverer at " << m);
      World world(operation);
      if (!run_and_kill(world.host, operation, n).was_killed) return;
      Operation recovery = operation;
      recovery.warm_up = [](Heap& heap) { (void)heap.free(heap.allocate(64).value()); };
      recovery.run = [](Heap& heap) {
        install_recovery(heap);
        must(heap.recover().has_value());
        // So that the locks of the dead are taken, and what they guard is repaired.
        must(!heap.remove("no such name").has_value());
        must(heap.allocate_to(*heap.root(kRecoverersRoot), 100'000).has_value());
        must(heap.free_from(*heap.root(kRecoverersRoot)).has_value());
      };
      const Outcome outcome = run_and_kill(world.host, recovery, m);
      REQUIRE(outcome.was_killed);
      if (m == 0) recovery_steps = outcome.steps;
      survive(world.host, world.heap, operation, world.blocks);
      if (m != 0) ++total.kill_points;
    }
  }
}

inline void fill_roots(Heap& heap, std::uint64_t bytes) {
  for (unsigned i = 0; i < 4; ++i)
    must(heap.allocate_to(*heap.root(i), bytes).has_value());
}

inline Expected one_if_root_is_set(Heap& heap) {
  const std::int64_t count = root_of(heap, 0) != 0 ? 1 : 0;
  return {count, count};
}

inline Expected minus_one_if_root_is_clear(Heap& heap) {
  const std::int64_t count = root_of(heap, 0) == 0 ? -1 : 0;
  return {count, count};
}

inline Operation allocate_to(const char* name, std::uint64_t bytes) {
  return {.name = name,
          .run = [=](Heap& heap) { must(heap.allocate_to(*heap.root(0), bytes).has_value()); },
          .expected = one_if_root_is_set};
}

inline Operation free_from(const char* name, std::uint64_t bytes) {
  return {.name = name,
          .prepare = [=](Heap& heap) { fill_roots(heap, bytes); },
          .run = [](Heap& heap) { must(heap.free_from(*heap.root(0)).has_value()); },
          .expected = minus_one_if_root_is_clear};
}

// Fills the heap with blocks of `bytes` and frees every `nth` of them again.
inline void fill(Heap& heap, std::uint64_t bytes, unsigned nth) {
  std::vector<Block> blocks;
  while (auto block = heap.allocate(bytes))
    blocks.push_back(*block);
  for (std::size_t i = 0; i < blocks.size(); i += nth)
    must(heap.free(blocks[i]).has_value());
}

inline Expected names_expected(Heap& heap, std::uint64_t names_before) {
  const auto count = static_cast<std::int64_t>(heap.objects().value().size()) -
                     static_cast<std::int64_t>(names_before);
  return {count, count};
}

}  // namespace strata::inline v0_1::test
