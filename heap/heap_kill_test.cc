// Kills a process at every step of every operation, lets another one go on, and compares what is
// there with what has to be. No step is left out: an operation is first run whole to count them.
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "heap/heap_core.h"
#include "heap/heap_testing.h"
#include "strata/base/step.h"
#include "tests/catch.h"
#include "tests/verified.h"

using namespace strata;
using namespace strata::test;

namespace {

using Block = Offset<std::byte>;

constexpr unsigned kRecoverersRoot = 5;  // holds what a killed recoverer had allocated

void must(bool done) { STRATA_CHECK(done); }

struct Total {
  std::uint64_t kill_points = 0;
  ~Total() { report_verified(kill_points, "kill points"); }
} total;

std::uint64_t root_of(Heap& heap, unsigned index) { return heap.root(index)->bytes; }

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
Outcome run_and_kill(HeapHost& host, const Operation& operation, std::uint64_t n) {
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
void install_recovery(Heap& heap) {
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
void survive(HeapHost& host, Heap& heap, const Operation& operation, std::uint64_t blocks_before) {
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

void kill_everywhere(const Operation& operation) {
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
void kill_recoverer_everywhere(const Operation& operation) {
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

void fill_roots(Heap& heap, std::uint64_t bytes) {
  for (unsigned i = 0; i < 4; ++i)
    must(heap.allocate_to(*heap.root(i), bytes).has_value());
}

Expected one_if_root_is_set(Heap& heap) {
  const std::int64_t count = root_of(heap, 0) != 0 ? 1 : 0;
  return {count, count};
}

Expected minus_one_if_root_is_clear(Heap& heap) {
  const std::int64_t count = root_of(heap, 0) == 0 ? -1 : 0;
  return {count, count};
}

Operation allocate_to(const char* name, std::uint64_t bytes) {
  return {.name = name,
          .run = [=](Heap& heap) { must(heap.allocate_to(*heap.root(0), bytes).has_value()); },
          .expected = one_if_root_is_set};
}

Operation free_from(const char* name, std::uint64_t bytes) {
  return {.name = name,
          .prepare = [=](Heap& heap) { fill_roots(heap, bytes); },
          .run = [](Heap& heap) { must(heap.free_from(*heap.root(0)).has_value()); },
          .expected = minus_one_if_root_is_clear};
}

// Fills the heap with blocks of `bytes` and frees every `nth` of them again.
void fill(Heap& heap, std::uint64_t bytes, unsigned nth) {
  std::vector<Block> blocks;
  while (auto block = heap.allocate(bytes))
    blocks.push_back(*block);
  for (std::size_t i = 0; i < blocks.size(); i += nth)
    must(heap.free(blocks[i]).has_value());
}

Expected names_expected(Heap& heap, std::uint64_t names_before) {
  const auto count = static_cast<std::int64_t>(heap.objects().value().size()) -
                     static_cast<std::int64_t>(names_before);
  return {count, count};
}

}  // namespace

TEST_CASE("a_kill_at_any_step_of_allocate_loses_at_most_the_block_nobody_was_told_of") {
  const auto zero_or_one = [](Heap&) { return Expected{0, 1}; };
  kill_everywhere({.name = "allocate, first of its process",
                   .run = [](Heap& heap) { must(heap.allocate(64).has_value()); },
                   .expected = zero_or_one});
  kill_everywhere(
      {.name = "allocate from a span in hand",
       .warm_up = [](Heap& heap) { must(heap.free(heap.allocate(64).value()).has_value()); },
       .run = [](Heap& heap) { must(heap.allocate(64).has_value()); },
       .expected = zero_or_one});
  kill_everywhere({.name = "allocate in a new span of several units",
                   .run = [](Heap& heap) { must(heap.allocate(80'000).has_value()); },
                   .expected = zero_or_one});
  kill_everywhere({.name = "allocate a large object",
                   .run = [](Heap& heap) { must(heap.allocate(600'000).has_value()); },
                   .expected = zero_or_one,
                   .bytes = MiB(4)});
  kill_everywhere({.name = "allocate past the end of a full span",
                   .prepare =
                       [](Heap& heap) {
                         for (int i = 0; i < 40; ++i)
                           must(heap.allocate(4000).has_value());
                       },
                   .run =
                       [](Heap& heap) {
                         for (int i = 0; i < 20; ++i)
                           must(heap.allocate(4000).has_value());
                       },
                   .expected =
                       [](Heap&) {
                         return Expected{0, 20};
                       }});
}

TEST_CASE("a_kill_at_any_step_of_allocate_when_memory_is_short_loses_nothing") {
  kill_everywhere({.name = "allocate when memory is short",
                   .prepare = [](Heap& heap) { fill(heap, 4000, 12); },
                   .run =
                       [](Heap& heap) {
                         for (int i = 0; i < 20; ++i)
                           must(heap.allocate(4000).has_value());
                       },
                   .expected =
                       [](Heap&) {
                         return Expected{0, 20};
                       },
                   .leaves_it_full = true});
  kill_everywhere({.name = "allocate when all spans are of another class and empty",
                   .prepare = [](Heap& heap) { fill(heap, 500, 1); },
                   .run = [](Heap& heap) { must(heap.allocate(4000).has_value()); },
                   .expected =
                       [](Heap&) {
                         return Expected{0, 1};
                       },
                   .leaves_it_full = true});
  kill_everywhere({.name = "allocate until exhausted",
                   .prepare = [](Heap& heap) { fill(heap, 30'000, 20); },
                   .run =
                       [](Heap& heap) {
                         while (heap.allocate(30'000)) {
                         }
                       },
                   .expected =
                       [](Heap&) {
                         return Expected{0, 20};
                       },
                   .bytes = MiB(1),
                   .leaves_it_full = true});
}

TEST_CASE("a_kill_at_any_step_of_growth_leaves_a_heap_that_grows") {
  kill_everywhere({.name = "allocate and grow the segment",
                   .prepare =
                       [](Heap& heap) {
                         for (int i = 0; i < 7; ++i)
                           must(heap.allocate(131'072).has_value());
                       },
                   .run =
                       [](Heap& heap) {
                         for (int i = 0; i < 10; ++i)
                           must(heap.allocate(131'072).has_value());
                       },
                   .expected =
                       [](Heap&) {
                         return Expected{0, 10};
                       },
                   .bytes = MiB(1),
                   .max_bytes = MiB(8)});
}

TEST_CASE("a_kill_at_any_step_of_free_leaves_the_block_allocated_or_free") {
  for (const std::uint64_t bytes : {std::uint64_t{64}, KiB(20), KiB(60), KiB(600)}) {
    const std::string name = "free " + std::to_string(bytes);
    const auto run = [](Heap& heap) { must(heap.free(*heap.root(0)).has_value()); };
    const auto expected = [](Heap&) { return Expected{-1, 0}; };
    kill_everywhere({.name = name.c_str(),
                     .prepare = [=](Heap& heap) { fill_roots(heap, bytes); },
                     .run = run,
                     .expected = expected,
                     .bytes = MiB(4)});
  }
  kill_everywhere({.name = "free the last blocks of spans",
                   .prepare =
                       [](Heap& heap) {
                         for (int i = 0; i < 64; ++i)
                           must(heap.allocate(4000).has_value());
                       },
                   .run =
                       [](Heap& heap) {
                         const std::vector<BlockInfo> blocks = heap.blocks().value();
                         for (const BlockInfo& block : blocks)
                           must(heap.free(Block{block.offset_bytes}).has_value());
                       },
                   .expected =
                       [](Heap&) {
                         return Expected{-64, 0};
                       }});
}

TEST_CASE("a_kill_at_any_step_of_allocate_to_publishes_the_block_or_frees_it") {
  kill_everywhere(allocate_to("allocate_to 64", 64));
  kill_everywhere(allocate_to("allocate_to 80000", 80'000));
  Operation large = allocate_to("allocate_to 600000", 600'000);
  large.bytes = MiB(4);
  kill_everywhere(large);
}

TEST_CASE(
    "a_large_block_freed_and_allocated_anew_is_not_freed_by_the_recovery_of_its_first_maker") {
  const Operation operation = {
      .name = "allocate_to 600000, then others use its memory",
      .run = [](Heap& heap) { must(heap.allocate_to(*heap.root(0), 600'000).has_value()); },
      .expected =
          [](Heap&) {
            return Expected{0, 1};
          },
      .bytes = MiB(4)};
  std::uint64_t published = 0;
  for (std::uint64_t n = 1;; ++n) {
    INFO("killed at step " << n);
    World world(operation);
    if (!run_and_kill(world.host, operation, n).was_killed) break;
    if (root_of(world.heap, 0) == 0) continue;
    ++published;
    // The maker is dead, and nobody has cleaned up after it.
    REQUIRE(world.heap.free_from(*world.heap.root(0)));
    std::vector<Block> blocks;
    for (int i = 0; i < 4; ++i)
      blocks.push_back(world.heap.allocate(600'000).value());
    REQUIRE(world.heap.recover());
    for (const Block block : blocks) {
      CHECK(world.heap.block_actions().state(block.bytes).value() == BlockState::allocated);
    }
    CHECK(world.heap.check().value().is_clean());
    ++total.kill_points;
  }
  CHECK(published > 0);
}

// Makes or destroys "a" in a process that dies at each step; others then destroy what is there and
// use its memory, before anybody cleans up.
static void kill_then_destroy_and_reuse(const Operation& operation) {
  std::uint64_t found = 0;
  for (std::uint64_t n = 1;; ++n) {
    INFO(operation.name << " killed at step " << n);
    World world(operation);
    if (!run_and_kill(world.host, operation, n).was_killed) break;
    ++total.kill_points;
    if (!world.heap.destroy<int>("a")) continue;
    ++found;
    std::vector<Block> blocks;
    for (int i = 0; i < 600; ++i)
      blocks.push_back(world.heap.allocate(64).value());
    REQUIRE(world.heap.recover());
    for (const Block block : blocks)
      CHECK(world.heap.block_actions().state(block.bytes).value() == BlockState::allocated);
    CHECK(world.heap.check().value().is_clean());
  }
  CHECK(found > 0);
}

TEST_CASE("a_name_destroyed_after_a_kill_is_not_freed_by_the_recovery_of_the_dead") {
  const auto any = [](Heap&) { return Expected{-2, 2}; };
  const auto make = [](Heap& heap) { must(heap.make<int>("a", 1).has_value()); };
  kill_then_destroy_and_reuse({.name = "make", .run = make, .expected = any});
  kill_then_destroy_and_reuse({.name = "destroy",
                               .prepare = make,
                               .run = [](Heap& heap) { must(heap.destroy<int>("a").has_value()); },
                               .expected = any});
}

TEST_CASE("a_kill_at_any_step_of_free_from_frees_once_or_not_at_all") {
  kill_everywhere(free_from("free_from 64", 64));
  kill_everywhere(free_from("free_from 60000", 60'000));
  Operation large = free_from("free_from 600000", 600'000);
  large.bytes = MiB(4);
  kill_everywhere(large);
}

TEST_CASE("a_kill_at_any_step_of_make_leaves_a_whole_object_or_none") {
  kill_everywhere({.name = "make the first name",
                   .run = [](Heap& heap) { must(heap.make<int>("a", 1).has_value()); },
                   .expected =
                       [](Heap& heap) {
                         const Expected names = names_expected(heap, 0);
                         const int table = heap.core().header().names.root.load() != 0 ? 1 : 0;
                         return Expected{names.fewest + table, names.most + table};
                       }});
  kill_everywhere({.name = "make one more name",
                   .prepare = [](Heap& heap) { must(heap.make<int>("a", 1).has_value()); },
                   .run = [](Heap& heap) { must(heap.make<double>("b", 2).has_value()); },
                   .expected =
                       [](Heap& heap) {
                         must(*heap.find<int>("a").value() == 1);
                         return names_expected(heap, 1);
                       }});
  kill_everywhere({.name = "make a name that is taken",
                   .prepare = [](Heap& heap) { must(heap.make<int>("a", 1).has_value()); },
                   .run = [](Heap& heap) { must(!heap.make<double>("a", 2).has_value()); },
                   .expected = [](Heap& heap) { return names_expected(heap, 1); }});
  kill_everywhere({.name = "make a name for which the table grows",
                   .prepare =
                       [](Heap& heap) {
                         for (int i = 0; i < 42; ++i)
                           must(heap.make<int>("name " + std::to_string(i), i).has_value());
                       },
                   .run =
                       [](Heap& heap) {
                         for (int i = 42; i < 44; ++i)
                           must(heap.make<int>("name " + std::to_string(i), i).has_value());
                       },
                   .expected =
                       [](Heap& heap) {
                         for (int i = 0; i < 42; ++i)
                           must(*heap.find<int>("name " + std::to_string(i)).value() == i);
                         return names_expected(heap, 42);
                       }});
}

TEST_CASE("a_kill_at_any_step_of_destroy_leaves_a_whole_object_or_none") {
  kill_everywhere({.name = "destroy",
                   .prepare =
                       [](Heap& heap) {
                         must(heap.make<int>("a", 1).has_value());
                         must(heap.make<int>("b", 2).has_value());
                       },
                   .run = [](Heap& heap) { must(heap.destroy<int>("a").has_value()); },
                   .expected =
                       [](Heap& heap) {
                         must(*heap.find<int>("b").value() == 2);
                         return names_expected(heap, 2);
                       }});
}

TEST_CASE("a_kill_at_any_step_of_a_transactions_block_changes_waits_for_its_recovery") {
  // As a transaction does: reserve, log, tentative, allocated; then freeing and free.
  kill_everywhere(
      {.name = "reserve and change",
       .run =
           [](Heap& heap) {
             BlockActions& actions = heap.block_actions();
             const std::uint64_t block = actions.reserve(64, 16).value();
             heap.root(8)->bytes = block;
             must(actions.change(block, BlockState::free, BlockState::tentative).value());
             must(actions.change(block, BlockState::tentative, BlockState::allocated).value());
             must(actions.change(block, BlockState::allocated, BlockState::freeing).value());
             must(actions.change(block, BlockState::freeing, BlockState::free).value());
             heap.root(8)->bytes = 0;
           },
       .expected =
           [](Heap& heap) {
             const std::uint64_t block = root_of(heap, 8);
             if (block == 0) return Expected{0, 0};
             BlockActions& actions = heap.block_actions();
             if (!actions.state(block)) return Expected{0, 0};
             (void)actions.change(block, BlockState::tentative, BlockState::free);
             const BlockState state = actions.state(block).value();
             const int count =
                 state == BlockState::allocated || state == BlockState::freeing ? 1 : 0;
             return Expected{count, count};
           }});
  kill_everywhere({.name = "reserve a large block and cancel it",
                   .run =
                       [](Heap& heap) {
                         BlockActions& actions = heap.block_actions();
                         actions.cancel(actions.reserve(600'000, 16).value());
                       },
                   .expected =
                       [](Heap&) {
                         return Expected{0, 0};
                       },
                   .bytes = MiB(4)});
}

TEST_CASE("a_kill_at_any_step_of_closing_gives_everything_back") {
  kill_everywhere({.name = "give back what a thread has in hand",
                   .warm_up =
                       [](Heap& heap) {
                         for (const std::uint64_t bytes : {16, 64, 500, 5000, 60'000})
                           must(heap.free(heap.allocate(bytes).value()).has_value());
                       },
                   .run = [](Heap& heap) { heap.release_thread_cache(); },
                   .expected =
                       [](Heap&) {
                         return Expected{0, 0};
                       }});
}

TEST_CASE("a_kill_at_any_step_of_create_lets_another_create_it") {
  std::uint64_t steps = 1;
  for (std::uint64_t n = 0; n <= steps; ++n) {
    HeapHost host;
    const Shared<std::atomic<std::uint64_t>> passed;
    const int status = in_child([&] {
      Segment segment = host.attach();
      kill_at_step(n);
      must(Heap::create(segment).has_value());
      *passed = steps_passed();
      die();
    });
    INFO("create killed at step " << n);
    REQUIRE(was_killed(status));
    if (n == 0) {
      steps = passed->load();
      REQUIRE(steps > 0);
      CHECK(Heap::open(host.segment()));
      continue;
    }
    ++total.kill_points;
    CHECK(Heap::open(host.segment()).error().code() == Code::not_ready);
    Heap heap = Heap::create(host.segment()).value();
    CHECK(heap.allocate(64));
    CHECK(heap.check().value().is_clean());
  }
}

TEST_CASE("a_recoverer_killed_at_any_step_leaves_the_rest_to_the_next") {
  kill_recoverer_everywhere(allocate_to("allocate_to 64", 64));
  kill_recoverer_everywhere(free_from("free_from 64", 64));
  Operation large = allocate_to("allocate_to 600000", 600'000);
  large.bytes = MiB(4);
  kill_recoverer_everywhere(large);
  kill_recoverer_everywhere(
      {.name = "make one more name",
       .prepare = [](Heap& heap) { must(heap.make<int>("a", 1).has_value()); },
       .warm_up = [](Heap& heap) { must(heap.allocate_to(*heap.root(1), 64).has_value()); },
       .run = [](Heap& heap) { must(heap.make<double>("b", 2).has_value()); },
       .expected =
           [](Heap& heap) {
             const Expected names = names_expected(heap, 1);
             return Expected{names.fewest + 1, names.most + 1};
           }});
}
