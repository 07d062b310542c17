// Somebody overwrites words of a dictionary, before it is used and while it is. What others get may
// be errors or wrong answers; it is never a signal, a wait without end, or a step outside.
#include <cstdio>
#include <random>
#include <vector>

#include "heap/heap_testing.h"
#include "strata/heap/shared_dictionary.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/verified.h"

using namespace strata;
using namespace strata::test;

namespace {

constexpr TransactOptions kSoon = {.timeout_ms = 200};

// Where a dictionary's own words are: its root, its table and its nodes.
std::vector<std::uint64_t> words_of(SharedDictionary& dictionary) {
  std::vector<std::uint64_t> words;
  const std::byte* const base = dictionary.heap().base();
  const auto root =
      static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&dictionary.map()) - base);
  for (std::uint64_t at = 0; at < sizeof(Dictionary); at += 8)
    words.push_back(root + at);
  // All blocks but the log, which has a test of its own.
  const std::vector<BlockInfo> blocks = dictionary.heap().blocks().value();
  for (const BlockInfo& block : blocks) {
    if (block.bytes > KiB(16)) continue;
    for (std::uint64_t at = 0; at < block.bytes && at < 128; at += 8)
      words.push_back(block.offset_bytes + at);
  }
  return words;
}

struct World {
  World() : host(MiB(4)), dictionary(SharedDictionary::create(host.segment()).value()) {
    for (int i = 0; i < 60; ++i)
      REQUIRE(dictionary.set(
          i, i % 3 == 0 ? DictionaryValue("some text that is a node") : DictionaryValue(i)));
    words = words_of(dictionary);
  }
  std::uint64_t& word(std::uint64_t offset) {
    return *reinterpret_cast<std::uint64_t*>(host.bytes() + offset);
  }
  HeapHost host;
  SharedDictionary dictionary;
  std::vector<std::uint64_t> words;
};

std::uint64_t hostile_word(std::mt19937_64& random, World& world) {
  switch (random() % 6) {
    case 0: return 0;
    case 1: return ~std::uint64_t{0} - random() % 64;
    case 2: return random();
    case 3: return random() % MiB(5);
    case 4: return std::uint64_t{1} << (random() % 64);
    default: return world.words[random() % world.words.size()];  // into another node
  }
}

// Everything that one can do to it; results do not matter.
void use(SharedDictionary& dictionary, std::mt19937_64& random) {
  std::string room;
  const auto key = static_cast<std::int64_t>(random() % 80);
  switch (random() % 9) {
    case 0: (void)dictionary.set(key, "another text"); break;
    case 1: (void)dictionary.add(key, 1); break;
    case 2: (void)dictionary.erase(key); break;
    case 3:
      (void)dictionary.for_each(
          [] {}, [](const DictionaryKey&, const DictionaryValue&) { return Result<void>(); },
          kSoon);
      break;
    case 4: (void)dictionary.check(kSoon); break;
    case 5: (void)dictionary.pop(key, room); break;
    case 6:
      if (random() % 20 == 0) (void)dictionary.clear(kSoon);
      break;
    default: (void)dictionary.get(key, room, kSoon);
  }
}

}  // namespace

TEST_CASE("a_dictionary_with_overwritten_words_gives_errors_and_never_a_crash_or_a_hang") {
  const unsigned seed = std::random_device()();
  INFO("seed " << seed);
  constexpr int kRounds = 150;
  for (int round = 0; round < kRounds; ++round) {
    INFO("round " << round);
    World world;
    std::mt19937_64 random(seed + static_cast<unsigned>(round));
    for (std::uint64_t i = 0, count = 1 + random() % 4; i < count; ++i)
      world.word(world.words[random() % world.words.size()]) = hostile_word(random, world);
    REQUIRE(child_says([&] {
      Segment segment = world.host.attach();
      auto mine = SharedDictionary::open(segment);
      if (!mine) return true;  // the type or the name was hit
      for (int i = 0; i < 60; ++i)
        use(*mine, random);
      return true;
    }));
  }
  report_verified(kRounds, "overwritten dictionaries");
}

TEST_CASE("a_dictionary_that_is_overwritten_while_it_is_used_gives_errors_and_never_a_crash") {
  const unsigned seed = std::random_device()();
  INFO("seed " << seed);
  World world;
  const pid_t scribbler = start_child([&] {
    std::mt19937_64 random(seed);
    while (true) {
      std::uint64_t& word = world.word(world.words[random() % world.words.size()]);
      const std::uint64_t good = __atomic_load_n(&word, __ATOMIC_RELAXED);
      __atomic_store_n(&word, hostile_word(random, world), __ATOMIC_RELAXED);
      for (std::uint64_t i = random() % 500; i > 0; --i)
        asm volatile("");
      // Most of it goes on to work.
      if (random() % 64 != 0) __atomic_store_n(&word, good, __ATOMIC_RELAXED);
    }
  });
  constexpr int kCalls = 20'000;
  CHECK(child_says([&] {
    Segment segment = world.host.attach();
    auto mine = SharedDictionary::open(segment);
    if (!mine) return true;
    std::mt19937_64 random(seed + 1);
    for (int i = 0; i < kCalls; ++i)
      use(*mine, random);
    return true;
  }));
  kill_child(scribbler);
  report_verified(kCalls, "calls to a dictionary while it was overwritten");
}

TEST_CASE("check_finds_what_is_wrong_with_a_dictionary") {
  World world;
  CHECK(world.dictionary.check().value().findings.empty());
  auto& map = *reinterpret_cast<std::uint64_t*>(&world.dictionary.map());
  std::uint64_t* const words = &map;
  const auto finds = [&](std::uint64_t& word, std::uint64_t bad) {
    const std::uint64_t good = std::exchange(word, bad);
    const auto report = world.dictionary.check(kSoon);
    word = good;
    return report && !report->findings.empty();
  };
  CHECK(finds(words[1], words[1] + 1));  // its count
  CHECK(finds(words[2], words[2] + 1));  // the seed of its hashes
  CHECK(finds(words[8], words[8] / 4));  // its buckets
  CHECK(finds(words[9], MiB(40)));       // its first segment
  CHECK(finds(world.word(words[9]), world.word(words[9] + 8) == 0 ? 1 : world.word(words[9] + 8)));
  CHECK(world.dictionary.check().value().findings.empty());
}
