// Transactions on a real heap: several processes, deaths in the middle, and check() as the judge.
#include <csignal>
#include <random>

#include "heap/heap_testing.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;

namespace {

struct Node {
  Offset<Node> next;
  std::uint64_t value;
};

struct Root {
  RobustMutex lock;
  std::array<std::uint64_t, 64> accounts;
  Offset<Node> list;
  std::uint64_t listed;
};

Result<void> push(Transaction& tx, Root& root, std::uint64_t value) {
  STRATA_ASSIGN(const Offset<Node> node, tx.allocate<Node>());
  *tx.get(node) = {tx.read(root.list), value};
  STRATA_TRY(tx.write(root.list, node));
  return tx.write(root.listed, tx.read(root.listed) + 1);
}

Result<void> pop(Transaction& tx, Root& root) {
  const Offset<Node> first = tx.read(root.list);
  if (!first) return {};
  STRATA_TRY(tx.write(root.list, tx.read(tx.get(first)->next)));
  STRATA_TRY(tx.write(root.listed, tx.read(root.listed) - 1));
  return tx.free(first);
}

void require_sound(Heap& heap, std::uint64_t blocks_besides) {
  REQUIRE(heap.recover());
  const HeapReport report = heap.check().value();
  INFO(report.to_string());
  for (const HeapFinding& finding : report.findings)
    UNSCOPED_INFO(finding.text);
  CHECK(report.is_consistent());
  CHECK(report.unfinished_blocks == 0);
  CHECK(report.allocated_blocks == blocks_besides);
}

std::uint64_t count_list(Heap& heap, const Root& root) {
  std::uint64_t count = 0;
  for (Offset<Node> at = root.list; at; at = heap.get(at)->next)
    ++count;
  return count;
}

}  // namespace

TEST_CASE("a_heap_runs_transactions_and_check_finds_every_block_accounted_for") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  Root* const root = heap.make<Root>("root").value();
  REQUIRE(heap.transact(root->lock, [&](Transaction& tx) { return push(tx, *root, 1); }));
  REQUIRE(heap.transact(root->lock, [&](Transaction& tx) { return push(tx, *root, 2); }));
  const std::uint64_t blocks = heap.check().value().allocated_blocks;
  CHECK(!heap.transact(root->lock, [&](Transaction& tx) -> Result<void> {
    for (std::uint64_t i = 0; i < 100; ++i)
      STRATA_TRY(push(tx, *root, i));
    STRATA_TRY(pop(tx, *root));
    STRATA_TRY(tx.allocate(KiB(200)));
    return fail(Code::failed_precondition, "no");
  }));
  CHECK(root->listed == 2);
  require_sound(heap, blocks);
  REQUIRE(heap.transact(root->lock, [&](Transaction& tx) { return pop(tx, *root); }));
  CHECK(count_list(heap, *root) == 1);
  require_sound(heap, blocks - 1);
}

TEST_CASE("a_heap_without_room_for_the_log_or_the_objects_is_exhausted_and_unchanged") {
  HeapHost host(MiB(1));
  Heap heap = Heap::create(host.segment()).value();
  Root* const root = heap.make<Root>("root").value();
  CHECK(heap.make_transaction_log({.slot_count = 32, .slot_bytes = KiB(64)}).error().code() ==
        Code::exhausted);
  REQUIRE(heap.make_transaction_log({.slot_count = 2, .slot_bytes = KiB(8)}));
  CHECK(heap.make_transaction_log({}).error().code() == Code::already_exists);
  const auto full = heap.transact(root->lock, [&](Transaction& tx) -> Result<void> {
    STRATA_TRY(push(tx, *root, 1));
    STRATA_TRY(tx.allocate(MiB(2)));
    return {};
  });
  REQUIRE(!full);
  CHECK(full.error().code() == Code::exhausted);
  CHECK(root->listed == 0);
  CHECK(heap.check().value().unfinished_blocks == 0);
}

TEST_CASE("a_transaction_may_grow_the_segment_and_others_follow") {
  HeapHost host(MiB(1), MiB(16));
  Heap heap = Heap::create(host.segment(), {.region_bytes = MiB(16), .nodes = {}}).value();
  Root* const root = heap.make<Root>("root").value();
  Opened other(host);
  Root* const theirs = other.heap.find<Root>("root").value();
  REQUIRE(other.heap.transactions());
  for (int i = 0; i < 10; ++i) {
    REQUIRE(heap.transact(root->lock, [&](Transaction& tx) -> Result<void> {
      STRATA_TRY(push(tx, *root, 1));
      STRATA_ASSIGN(const auto block, tx.allocate(KiB(600)));
      std::memset(tx.get(block, KiB(600)), 1, KiB(600));
      return tx.write(root->accounts[static_cast<std::size_t>(i)], block.bytes);
    }));
  }
  const auto freed = other.heap.transact(theirs->lock, [&](Transaction& tx) -> Result<void> {
    const std::byte* const last = tx.get(Offset<std::byte>{tx.read(theirs->accounts[9])}, KiB(600));
    REQUIRE(last != nullptr);
    CHECK(last[KiB(600) - 1] == std::byte{1});
    CHECK(tx.get(Offset<std::byte>{MiB(16)}) == nullptr);
    for (std::size_t i = 0; i < 10; ++i)
      STRATA_TRY(tx.free(Offset<std::byte>{tx.read(theirs->accounts[i])}));
    return pop(tx, *theirs);
  });
  INFO((freed ? std::string() : freed.error().to_string()));
  REQUIRE(freed);
  CHECK(root->listed == 9);
  CHECK(heap.check().value().is_consistent());
}

TEST_CASE("a_child_killed_inside_a_transaction_is_undone_by_the_next_owner_of_the_lock") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  Root* const root = heap.make<Root>("root").value();
  REQUIRE(heap.transact(root->lock, [&](Transaction& tx) { return push(tx, *root, 1); }));
  const std::uint64_t blocks = heap.check().value().allocated_blocks;
  for (int i = 0; i < 10; ++i) {
    CHECK(was_killed(in_child([&] {
      Opened mine(host);
      Root& theirs = *mine.heap.find<Root>("root").value();
      (void)mine.heap.transact(theirs.lock, [&](Transaction& tx) -> Result<void> {
        for (std::uint64_t k = 0; k < 50; ++k)
          STRATA_TRY(push(tx, theirs, k));
        STRATA_TRY(tx.snapshot(theirs.accounts));
        theirs.accounts.fill(7);
        die();
      });
    })));
    REQUIRE(heap.transact(root->lock, [](Transaction&) { return Result<void>(); }));
    CHECK(root->listed == 1);
    CHECK(root->accounts[3] == 0);
    require_sound(heap, blocks);
  }
}

TEST_CASE("four_processes_transfer_while_one_is_killed_every_50_ms_and_the_sum_stays") {
  const char* given = std::getenv("STRATA_SOAK_S");
  const std::uint64_t seconds = given != nullptr ? std::strtoull(given, nullptr, 10) : 15;
  const unsigned seed = std::random_device()();
  INFO("seed " << seed);
  HeapHost host(MiB(16));
  Heap heap = Heap::create(host.segment()).value();
  Root* const root = heap.make<Root>("root").value();
  root->accounts.fill(1000);
  REQUIRE(heap.transactions());
  const std::uint64_t blocks_besides = heap.check().value().allocated_blocks;
  const auto start = [&](unsigned child_seed) {
    return start_child([&host, child_seed] {
      Opened mine(host);
      Root& root = *mine.heap.find<Root>("root").value();
      std::mt19937 random(child_seed);
      while (true) {
        const auto done = mine.heap.transact(root.lock, [&](Transaction& tx) -> Result<void> {
          auto& from = root.accounts[random() % 63];
          auto& to = root.accounts[random() % 63];
          STRATA_TRY(tx.write(from, tx.read(from) - 7));
          STRATA_TRY(tx.write(to, tx.read(to) + 7));
          STRATA_TRY(tx.snapshot(root.accounts[63]));
          root.accounts[63] += 1;  // counts the transactions, in place
          if (random() % 3 == 0) STRATA_TRY(push(tx, root, random()));
          if (tx.read(root.listed) > 100 || random() % 5 == 0) STRATA_TRY(pop(tx, root));
          if (random() % 16 == 0) return fail(Code::failed_precondition, "no");
          return {};
        });
        if (!done && done.error().message() != "no") {
          std::fprintf(stderr, "%s\n", done.error().to_string().c_str());
          _exit(3);
        }
      }
    });
  };
  std::mt19937 random(seed);
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i)
    children.push_back(start(static_cast<unsigned>(random())));
  const Deadline end = Deadline::after_ms(seconds * 1000);
  std::uint64_t kills = 0;
  while (!end.expired()) {
    usleep(50'000);
    pid_t& victim = children[random() % children.size()];
    // None may have stopped by itself.
    REQUIRE(waitpid(victim, nullptr, WNOHANG) == 0);
    kill_child(victim);
    ++kills;
    victim = start(static_cast<unsigned>(random()));
  }
  for (const pid_t child : children) {
    REQUIRE(waitpid(child, nullptr, WNOHANG) == 0);
    kill_child(child);
  }
  REQUIRE(heap.transact(root->lock, [](Transaction&) { return Result<void>(); }));
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < 63; ++i)
    sum += root->accounts[i];
  CHECK(sum == 63'000);
  CHECK(count_list(heap, *root) == root->listed);
  require_sound(heap, blocks_besides + root->listed);
  std::printf("%llu transactions, %llu kills\n",
              static_cast<unsigned long long>(root->accounts[63] - 1000),
              static_cast<unsigned long long>(kills));
  std::printf("verified: %llu random kills of processes in transactions\n",
              static_cast<unsigned long long>(kills));
}
