// Kills while named objects are made and destroyed, and while transactions change blocks.
#include "heap/heap_kill_testing.h"

using namespace strata;
using namespace strata::test;

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
