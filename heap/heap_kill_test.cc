// Kills while blocks are allocated and freed, and while a heap is made, grown, closed and
// recovered.
#include "heap/heap_kill_testing.h"

using namespace strata;
using namespace strata::test;

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

TEST_CASE("a_kill_at_any_step_of_free_from_frees_once_or_not_at_all") {
  kill_everywhere(free_from("free_from 64", 64));
  kill_everywhere(free_from("free_from 60000", 60'000));
  Operation large = free_from("free_from 600000", 600'000);
  large.bytes = MiB(4);
  kill_everywhere(large);
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
