#include "strata/transaction/transaction_map.h"

#include <map>
#include <random>
#include <sstream>

#include "heap/heap_testing.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;

namespace {

struct Root {
  RobustMutex lock;
  TransactionMap words;
  std::array<std::uint64_t, 4> next;  // by share: the first line that is not counted
};

using Counts = std::map<std::string, std::uint64_t>;

Counts contents(Heap& heap, Root& root) {
  Counts counts;
  REQUIRE(heap.transact(root.lock, [&](Transaction& tx) -> Result<void> {
    STRATA_TRY(root.words.for_each(
        tx, [&](std::string_view key, std::uint64_t value) { counts[std::string(key)] = value; }));
    CHECK(root.words.size(tx) == counts.size());
    return {};
  }));
  return counts;
}

// Lines of words, few of them frequent.
std::vector<std::string> make_text(unsigned seed, int lines) {
  std::mt19937 random(seed);
  std::geometric_distribution<int> word(0.01);
  std::vector<std::string> text;
  for (int i = 0; i < lines; ++i) {
    std::string line;
    for (int k = 0; k < 12; ++k)
      line += "word" + std::to_string(word(random)) + " ";
    text.push_back(line);
  }
  return text;
}

Result<void> count_line(Transaction& tx, Root& root, const std::string& line) {
  std::istringstream words(line);
  for (std::string word; words >> word;)
    STRATA_TRY(root.words.add(tx, word, 1));
  return {};
}

// Counts the lines of one share, each in a transaction that also remembers how far it is.
void count_share(Heap& heap, Root& root, const std::vector<std::string>& text, std::size_t share,
                 std::uint64_t die_at) {
  while (true) {
    bool finished = false;
    const auto done = heap.transact(root.lock, [&](Transaction& tx) -> Result<void> {
      const std::uint64_t line = tx.read(root.next[share]);
      if (line >= text.size()) return finished = true, Result<void>();
      STRATA_TRY(count_line(tx, root, text[line]));
      if (line / 4 == die_at) die();
      return tx.write(root.next[share], line + 4);
    });
    if (!done) _exit(3);
    if (finished) return;
  }
}

}  // namespace

TEST_CASE("a_map_does_what_a_private_map_does_also_when_transactions_fail") {
  const unsigned seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  HeapHost host(MiB(16));
  Heap heap = Heap::create(host.segment()).value();
  Root* const root = heap.make<Root>("root").value();
  REQUIRE(heap.transactions());
  const std::uint64_t blocks = heap.check().value().allocated_blocks;
  Counts reference;
  for (int round = 0; round < 300; ++round) {
    Counts changed = reference;
    const bool fails = random() % 4 == 0;
    const auto done = heap.transact(root->lock, [&](Transaction& tx) -> Result<void> {
      for (unsigned i = 0; i < 1 + random() % 30; ++i) {
        const std::string key(random() % 3 == 0 ? "" : "key" + std::to_string(random() % 200));
        switch (random() % 4) {
          case 0: {
            STRATA_ASSIGN(const bool erased, root->words.erase(tx, key));
            CHECK(erased == (changed.erase(key) == 1));
            break;
          }
          case 1:
            STRATA_TRY(root->words.set(tx, key, i));
            changed[key] = i;
            break;
          default: {
            STRATA_ASSIGN(const std::uint64_t sum, root->words.add(tx, key, 3));
            CHECK(sum == (changed[key] += 3));
          }
        }
        STRATA_ASSIGN(const auto found, root->words.find(tx, key));
        CHECK(found.has_value() == (changed.count(key) == 1));
      }
      if (fails) return fail(Code::failed_precondition, "no");
      return {};
    });
    CHECK(done.has_value() == !fails);
    if (!fails) reference = changed;
    if (round % 20 == 0) CHECK(contents(heap, *root) == reference);
  }
  CHECK(contents(heap, *root) == reference);
  REQUIRE(heap.transact(root->lock, [&](Transaction& tx) { return root->words.clear(tx); }));
  CHECK(contents(heap, *root).empty());
  CHECK(heap.check().value().allocated_blocks == blocks);
}

TEST_CASE("a_damaged_map_is_corrupt_and_never_followed_out_of_the_payload") {
  HeapHost host(MiB(4));
  Heap heap = Heap::create(host.segment()).value();
  Root* const root = heap.make<Root>("root").value();
  REQUIRE(heap.transact(root->lock, [&](Transaction& tx) -> Result<void> {
    STRATA_TRY(root->words.add(tx, "a", 1));
    return {};
  }));
  auto* const words = reinterpret_cast<std::uint64_t*>(&root->words);
  const std::uint64_t good[] = {words[0], words[1]};
  for (const std::uint64_t bad : {~std::uint64_t{0}, std::uint64_t{3}, good[0] + MiB(64)}) {
    for (int i = 0; i < 2; ++i) {
      words[i] = bad;
      const auto done = heap.transact(root->lock, [&](Transaction& tx) -> Result<void> {
        STRATA_TRY(root->words.find(tx, "a"));
        return {};
      });
      REQUIRE(!done);
      CHECK(done.error().code() == Code::corrupt);
      words[i] = good[i];
    }
  }
}

TEST_CASE("words_counted_by_four_processes_two_of_them_killed_in_a_transaction_are_exact") {
  const unsigned seed = std::random_device()();
  INFO("seed " << seed);
  const std::vector<std::string> text = make_text(seed, 2000);
  Counts reference;
  for (const std::string& line : text) {
    std::istringstream words(line);
    for (std::string word; words >> word;)
      ++reference[word];
  }
  HeapHost host(MiB(16));
  Heap heap = Heap::create(host.segment()).value();
  Root* const root = heap.make<Root>("root").value();
  for (std::size_t share = 0; share < 4; ++share)
    root->next[share] = share;
  const auto start = [&](std::size_t share, std::uint64_t die_at) {
    return start_child([&, share, die_at] {
      Opened mine(host);
      count_share(mine.heap, *mine.heap.find<Root>("root").value(), text, share, die_at);
    });
  };
  constexpr std::uint64_t kNever = ~std::uint64_t{0};
  pid_t children[] = {start(0, 100), start(1, 300), start(2, kNever), start(3, kNever)};
  CHECK(was_killed(wait_for(children[0])));
  CHECK(was_killed(wait_for(children[1])));
  CHECK(wait_for(children[2]) == 0);
  CHECK(wait_for(children[3]) == 0);
  // Others go on where they were.
  CHECK(wait_for(start(0, kNever)) == 0);
  CHECK(wait_for(start(1, kNever)) == 0);
  CHECK(contents(heap, *root) == reference);
  REQUIRE(heap.recover());
  CHECK(heap.check().value().is_consistent());
}
