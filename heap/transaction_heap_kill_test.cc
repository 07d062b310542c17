// Kills a process at every step of a transaction on a real heap: of what it allocates and frees,
// of the map of counts, of making the log; and, after some of these, whoever repairs at every step
// of that. Then another process goes on and finds all or nothing, and check() agrees.
#include <cstdio>
#include <functional>
#include <map>
#include <string>

#include "heap/heap_testing.h"
#include "strata/base/step.h"
#include "strata/transaction/transaction_map.h"
#include "tests/catch.h"
#include "tests/verified.h"

using namespace strata;
using namespace strata::test;

namespace {

// After every so many kills the heirs are killed, too: all pairs would take minutes.
constexpr std::uint64_t kHeirsEvery = 29;

struct Node {
  Offset<Node> next;
  std::uint64_t value;
};

struct Root {
  RobustMutex lock;
  TransactionMap words;
  Offset<Node> list;
};

Root& root_of(Heap& heap) { return *heap.find<Root>("root").value(); }

Result<void> push(Transaction& tx, Root& root, std::uint64_t value, std::uint64_t bytes) {
  STRATA_ASSIGN(const Offset<std::byte> block, tx.allocate(bytes));
  const Offset<Node> node{block.bytes};
  STRATA_STEP("fill a node");
  *tx.get(node) = {tx.read(root.list), value};
  return tx.write(root.list, node);
}

Result<void> pop(Transaction& tx, Root& root) {
  const Offset<Node> first = tx.read(root.list);
  STRATA_TRY(tx.write(root.list, tx.read(tx.get(first)->next)));
  return tx.free(first);
}

// What counts, and how many blocks it takes.
struct State {
  std::map<std::string, std::uint64_t> words;
  std::vector<std::uint64_t> list;
  std::uint64_t blocks = 0;
  bool operator==(const State&) const = default;
};

// As the next owner of the lock finds it.
State state_of(Heap& heap) {
  State state;
  Root& root = root_of(heap);
  const auto read = heap.transact(root.lock, [&](Transaction& tx) -> Result<void> {
    for (Offset<Node> at = root.list; at && state.list.size() < 100; at = heap.get(at)->next)
      state.list.push_back(heap.get(at)->value);
    STRATA_TRY(root.words.for_each(tx, [&](std::string_view key, std::uint64_t value) {
      state.words[std::string(key)] = value;
    }));
    CHECK(root.words.size(tx) == state.words.size());
    return {};
  });
  INFO((read ? std::string() : read.error().to_string()));
  REQUIRE(read);
  REQUIRE(heap.recover());
  heap.release_thread_cache();
  const HeapReport report = heap.check().value();
  INFO(report.to_string());
  CHECK(report.is_consistent());
  CHECK(report.unfinished_blocks == 0);
  state.blocks = report.allocated_blocks;
  return state;
}

std::string key(int i) { return "word " + std::to_string(i); }

struct World {
  explicit World(bool has_log = true) : host(MiB(2)), heap(Heap::create(host.segment()).value()) {
    Root* const root = heap.make<Root>("root").value();
    if (!has_log) return;
    REQUIRE(heap.transact(root->lock, [&](Transaction& tx) -> Result<void> {
      for (int i = 0; i < 3; ++i)
        STRATA_TRY(push(tx, *root, i, 48));
      // One more than these makes the table grow.
      for (int i = 0; i < 12; ++i)
        STRATA_TRY(root->words.set(tx, key(i), i));
      return {};
    }));
    heap.release_thread_cache();
  }
  HeapHost host;
  Heap heap;
};

using Body = std::function<Result<void>(Transaction&, Root&)>;
using Operation = std::function<bool(Heap&)>;

Operation transaction(Body body) {
  return [=](Heap& heap) {
    Root& root = root_of(heap);
    return heap.transact(root.lock, [&](Transaction& tx) { return body(tx, root); }).has_value();
  };
}

// Whether it died at step `n`; `warm_up` is done before.
bool kill_at(HeapHost& host, std::uint64_t n, const Operation& warm_up,
             const Operation& operation) {
  const int status = in_child([&] {
    Opened mine(host);
    if (warm_up && !warm_up(mine.heap)) _exit(3);
    kill_at_step(n);
    const bool done = operation(mine.heap);
    kill_at_step(0);
    // As if it were killed right after: nothing is closed.
    if (done && n == 0) die();
    _exit(done ? 0 : 4);
  });
  if (was_killed(status)) return true;
  INFO("status " << status);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
  return false;
}

bool take_over(Heap& heap) {
  return transaction([](Transaction&, Root&) { return Result<void>(); })(heap) &&
         heap.recover().has_value();
}

bool open_log(Heap& heap) { return heap.transactions().has_value(); }

void expect_one_of(Heap& heap, const State& before, const State& after) {
  const State found = state_of(heap);
  INFO(found.blocks << " blocks; " << before.blocks << " before, " << after.blocks << " after");
  REQUIRE((found == before || found == after));
}

void kill_everywhere(const char* name, const Operation& operation, bool has_log = true) {
  INFO(name);
  State before, after;
  {
    World world(has_log);
    if (has_log) before = state_of(world.heap);
    REQUIRE(kill_at(world.host, 0, has_log ? open_log : Operation(), operation));
    after = state_of(world.heap);
    if (!has_log) before = after;  // whoever looks makes the log where there is none
  }
  std::uint64_t points = 0, heirs = 0;
  for (std::uint64_t n = 1;; ++n) {
    INFO("killed at step " << n);
    {
      World world(has_log);
      if (!kill_at(world.host, n, has_log ? open_log : Operation(), operation)) break;
      expect_one_of(world.heap, before, after);
      ++points;
    }
    for (std::uint64_t m = 1; n % kHeirsEvery == 0; ++m) {
      INFO("its heir was killed at step " << m);
      World world(has_log);
      REQUIRE(kill_at(world.host, n, has_log ? open_log : Operation(), operation));
      if (!kill_at(world.host, m, {}, take_over)) break;
      expect_one_of(world.heap, before, after);
      ++heirs;
    }
  }
  REQUIRE(points > 20);
  std::printf("%s: %llu kill points, and %llu of heirs\n", name,
              static_cast<unsigned long long>(points), static_cast<unsigned long long>(heirs));
  report_verified(points + heirs, "kill points");
}

}  // namespace

TEST_CASE("a_kill_at_any_step_of_allocating_and_freeing_in_a_transaction_leaves_all_or_nothing") {
  const auto change = [](Transaction& tx, Root& root) -> Result<void> {
    STRATA_TRY(push(tx, root, 10, 48));
    STRATA_TRY(push(tx, root, 11, 5000));
    STRATA_TRY(pop(tx, root));  // what it has allocated itself
    STRATA_TRY(pop(tx, root));
    return pop(tx, root);  // what was there before
  };
  kill_everywhere("allocate and free", transaction(change));
  kill_everywhere("allocate a large block", transaction([](Transaction& tx, Root& root) {
                    return push(tx, root, 12, 300'000);
                  }));
  kill_everywhere("allocate, free, and fail", [=](Heap& heap) {
    return !transaction([=](Transaction& tx, Root& root) -> Result<void> {
      STRATA_TRY(change(tx, root));
      return fail(Code::failed_precondition, "no");
    })(heap);
  });
}

TEST_CASE("a_kill_at_any_step_of_a_transaction_map_leaves_it_as_before_or_after") {
  kill_everywhere("map: add to a key", transaction([](Transaction& tx, Root& root) -> Result<void> {
                    STRATA_TRY(root.words.add(tx, key(3), 7));
                    return root.words.set(tx, key(4), 9);
                  }));
  kill_everywhere("map: a new key, with growth",
                  transaction([](Transaction& tx, Root& root) -> Result<void> {
                    STRATA_TRY(root.words.add(tx, key(20), 1));
                    return {};
                  }));
  kill_everywhere("map: erase, and a new key",
                  transaction([](Transaction& tx, Root& root) -> Result<void> {
                    STRATA_TRY(root.words.erase(tx, key(5)));
                    return root.words.set(tx, key(21), 2);
                  }));
  kill_everywhere("map: clear",
                  transaction([](Transaction& tx, Root& root) { return root.words.clear(tx); }));
}

TEST_CASE("a_kill_at_any_step_of_making_the_log_lets_another_make_it") {
  kill_everywhere("make the log", open_log, false);
}
