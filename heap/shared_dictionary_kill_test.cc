// Kills a process at every step of a change of a dictionary. Whoever reads without the lock then
// sees all of it or nothing, or that it must wait; whoever takes the lock finds all or nothing.
#include <cstdio>
#include <functional>
#include <map>
#include <string>

#include "heap/heap_testing.h"
#include "strata/base/step.h"
#include "strata/heap/shared_dictionary.h"
#include "tests/catch.h"
#include "tests/verified.h"

using namespace strata;
using namespace strata::test;

namespace {

// After every so many kills the heirs are killed, too: all pairs would take minutes.
constexpr std::uint64_t kHeirsEvery = 41;
constexpr int kKeys = 16;  // one more makes a second segment

struct State {
  std::map<std::string, std::string> entries;
  std::uint64_t blocks = 0;
  bool operator==(const State&) const = default;
};

std::string name_of(const DictionaryKey& key) {
  return key.kind == DictionaryKey::Kind::integer ? std::to_string(key.integer)
                                                  : "'" + std::string(key.bytes);
}
std::string text_of(const DictionaryValue& value) {
  return value.has_bytes() ? "'" + std::string(value.bytes) : std::to_string(value.word);
}

// With a seed of its own: every run takes the same steps.
SharedDictionary make_dictionary(Segment& segment) {
  Heap heap = Heap::create(segment).value();
  REQUIRE(heap.make_transaction_log({.slot_count = 4, .slot_bytes = KiB(16)}));
  REQUIRE(heap.make<SharedDictionaryRoot>("dictionary", std::uint64_t{1}));
  return SharedDictionary::open(segment).value();
}

struct World {
  World() : host(MiB(2)), dictionary(make_dictionary(host.segment())) {
    for (int i = 0; i < kKeys; ++i)
      REQUIRE(dictionary.set(i, i % 2 == 0 ? DictionaryValue(i) : DictionaryValue("odd")));
    dictionary.heap().release_thread_cache();
  }
  HeapHost host;
  SharedDictionary dictionary;
};

// As anybody sees it now; nothing where it has to wait.
std::optional<std::map<std::string, std::string>> entries_without_lock(World& world) {
  std::map<std::string, std::string> entries;
  const std::span<const std::byte> payload(world.host.bytes(),
                                           world.host.segment().payload_bytes());
  const auto seen = world.dictionary.map().peek_each(
      payload, [&](const DictionaryKey& key, const DictionaryValue& value) -> Result<void> {
        entries[name_of(key)] = text_of(value);
        return {};
      });
  REQUIRE(seen);
  if (*seen == Dictionary::Peek::changed) return {};
  REQUIRE(*seen == Dictionary::Peek::found);
  return entries;
}

// As the next owner of the lock finds it.
State state_of(SharedDictionary& dictionary) {
  State state;
  const auto read = dictionary.heap().transact(dictionary.lock(), [&](Transaction& tx) {
    return dictionary.map().for_each(
        tx, [&](const DictionaryKey& key, const DictionaryValue& value) -> Result<void> {
          state.entries[name_of(key)] = text_of(value);
          return {};
        });
  });
  INFO((read ? std::string() : read.error().to_string()));
  REQUIRE(read);
  CHECK(dictionary.size().value() == state.entries.size());
  REQUIRE(dictionary.heap().recover());
  // What a clear has left is freed by those who come.
  REQUIRE(dictionary.set("sweep", 1));
  REQUIRE(dictionary.erase("sweep"));
  const DictionaryReport found = dictionary.check().value();
  for (const std::string& finding : found.findings)
    FAIL_CHECK(finding);
  CHECK(found.discarded_nodes == 0);
  dictionary.heap().release_thread_cache();
  const HeapReport report = dictionary.heap().check().value();
  INFO(report.to_string());
  CHECK(report.is_consistent());
  CHECK(report.unfinished_blocks == 0);
  state.blocks = report.allocated_blocks;
  return state;
}

using Operation = std::function<bool(SharedDictionary&)>;

// Whether it died at step `n`.
bool kill_at(HeapHost& host, std::uint64_t n, const Operation& operation) {
  const int status = in_child([&] {
    Segment segment = host.attach();
    SharedDictionary mine = SharedDictionary::open(segment).value();
    if (!mine.heap().transactions()) _exit(3);
    kill_at_step(n);
    const bool done = operation(mine);
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

bool take_over(SharedDictionary& dictionary) {
  return dictionary.transact([](Transaction&, Dictionary&) { return Result<void>(); })
             .has_value() &&
         dictionary.heap().recover().has_value();
}

void expect_one_of(World& world, const State& before, const State& after) {
  const auto seen = entries_without_lock(world);
  const State found = state_of(world.dictionary);
  INFO(found.blocks << " blocks; " << before.blocks << " before, " << after.blocks << " after");
  REQUIRE((found.entries == before.entries || found.entries == after.entries));
  REQUIRE((found.blocks == before.blocks || found.blocks == after.blocks));
  if (seen) REQUIRE((*seen == before.entries || *seen == after.entries));
}

void kill_everywhere(const char* name, const Operation& operation) {
  INFO(name);
  State before, after;
  {
    World world;
    before = state_of(world.dictionary);
  }
  {
    World world;
    REQUIRE(kill_at(world.host, 0, operation));
    after = state_of(world.dictionary);
  }
  std::uint64_t points = 0, heirs = 0;
  for (std::uint64_t n = 1;; ++n) {
    INFO("killed at step " << n);
    {
      World world;
      if (!kill_at(world.host, n, operation)) break;
      expect_one_of(world, before, after);
      ++points;
    }
    for (std::uint64_t m = 1; n % kHeirsEvery == 0; ++m) {
      INFO("its heir was killed at step " << m);
      World world;
      REQUIRE(kill_at(world.host, n, operation));
      if (!kill_at(world.host, m, take_over)) break;
      expect_one_of(world, before, after);
      ++heirs;
    }
  }
  REQUIRE(points > 10);
  std::printf("%s: %llu kill points, and %llu of heirs\n", name,
              static_cast<unsigned long long>(points), static_cast<unsigned long long>(heirs));
  report_verified(points + heirs, "kill points");
}

}  // namespace

TEST_CASE("a_kill_at_any_step_of_a_change_leaves_a_dictionary_as_before_or_after") {
  kill_everywhere("a new key, with a split", [](SharedDictionary& dictionary) {
    return dictionary.set("new", "value").has_value();
  });
  kill_everywhere("a number for a number",
                  [](SharedDictionary& dictionary) { return dictionary.add(4, 100).has_value(); });
  kill_everywhere("bytes for bytes", [](SharedDictionary& dictionary) {
    return dictionary.set(3, std::string(2000, 'x')).has_value();
  });
  kill_everywhere("erase",
                  [](SharedDictionary& dictionary) { return dictionary.erase(5).value(); });
}

TEST_CASE("a_kill_at_any_step_of_many_changes_in_one_transaction_leaves_all_or_nothing") {
  kill_everywhere("a transaction", [](SharedDictionary& dictionary) {
    return dictionary
        .transact([](Transaction& tx, Dictionary& map) -> Result<void> {
          STRATA_TRY(map.set(tx, 1, "one"));
          STRATA_TRY(map.set(tx, 1, "another"));
          STRATA_TRY(map.add(tx, 2, 5));
          STRATA_TRY(map.erase(tx, 3));
          STRATA_TRY(map.set(tx, 100, 1.5));
          return map.set(tx, 101, "new");
        })
        .has_value();
  });
}

TEST_CASE("a_kill_at_any_step_of_a_clear_leaves_all_or_an_empty_dictionary") {
  kill_everywhere("clear",
                  [](SharedDictionary& dictionary) { return dictionary.clear().has_value(); });
  kill_everywhere("clear, and go on", [](SharedDictionary& dictionary) {
    return dictionary
        .transact([](Transaction& tx, Dictionary& map) -> Result<void> {
          STRATA_TRY(map.clear(tx));
          STRATA_TRY(map.set(tx, "a", 1));
          STRATA_TRY(map.clear(tx));
          return map.set(tx, "b", "two");
        })
        .has_value();
  });
}
