#include "strata/heap/shared_dictionary.h"

#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <thread>

#include "heap/heap_testing.h"
#include "tests/catch.h"
#include "tests/child.h"

using namespace strata;
using namespace strata::test;

namespace {

using KeyKind = DictionaryKey::Kind;
using ValueKind = DictionaryValue::Kind;

// What a dictionary holds, in private memory.
struct OwnKey {
  KeyKind kind;
  std::string bytes;
  std::int64_t integer;
  auto operator<=>(const OwnKey&) const = default;
  DictionaryKey view() const {
    if (kind == KeyKind::integer) return integer;
    return kind == KeyKind::text ? DictionaryKey(bytes) : DictionaryKey::of_bytes(bytes);
  }
};
struct OwnValue {
  ValueKind kind;
  std::uint32_t tag;
  std::uint64_t word;
  std::string bytes;
  auto operator<=>(const OwnValue&) const = default;
  DictionaryValue view() const {
    DictionaryValue value;
    value.kind = kind;
    value.tag = tag;
    value.word = word;
    value.bytes = bytes;
    return value;
  }
};
using Model = std::map<OwnKey, OwnValue>;

OwnKey own(const DictionaryKey& key) { return {key.kind, std::string(key.bytes), key.integer}; }
OwnValue own(const DictionaryValue& value) {
  return {value.kind, value.tag, value.word, std::string(value.bytes)};
}

Model contents(const SharedDictionary& dictionary) {
  Model model;
  const auto read = dictionary.for_each(
      [&] { model.clear(); },
      [&](const DictionaryKey& key, const DictionaryValue& value) -> Result<void> {
        CHECK(model.emplace(own(key), own(value)).second);
        return {};
      });
  INFO((read ? std::string() : read.error().to_string()));
  REQUIRE(read);
  return model;
}

void expect_sound(SharedDictionary& dictionary) {
  const auto report = dictionary.check();
  REQUIRE(report);
  for (const std::string& finding : report->findings)
    FAIL_CHECK(finding);
  CHECK(report->keys == dictionary.size().value());
  CHECK(report->discarded_nodes == 0);
  dictionary.heap().release_thread_cache();
  const HeapReport heap = dictionary.heap().check().value();
  INFO(heap.to_string());
  CHECK(heap.is_consistent());
}

class Random {
 public:
  explicit Random(unsigned seed) : random_(seed) {}
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  std::string bytes(std::uint64_t limit) {
    std::string bytes(below(limit), '\0');
    for (char& byte : bytes)
      byte = static_cast<char>(below(256));
    return bytes;
  }
  OwnKey key() {
    const std::string text = below(9) == 0 ? "" : "key" + std::to_string(below(400));
    switch (below(3)) {
      case 0: return {KeyKind::text, text, 0};
      case 1: return {KeyKind::bytes, text, 0};
      default: return {KeyKind::integer, "", static_cast<std::int64_t>(below(400)) - 200};
    }
  }
  OwnValue value() {
    switch (below(8)) {
      case 0: return own(DictionaryValue());
      case 1: return own(DictionaryValue(below(2) == 0));
      case 2: return own(DictionaryValue(static_cast<double>(below(1000)) / 7));
      case 3: return own(DictionaryValue(bytes(40)));
      case 4: return own(DictionaryValue::of_bytes(bytes(3000)));
      case 5: return own(DictionaryValue::of_other(7, bytes(40)));
      default: return own(DictionaryValue(static_cast<std::int64_t>(below(1000))));
    }
  }

 private:
  std::mt19937_64 random_;
};

Result<void> random_change(Random& random, Transaction& tx, Dictionary& map, Model& model) {
  const OwnKey key = random.key();
  const OwnValue value = random.value();
  const auto place = model.find(key);
  const bool is_there = place != model.end();
  switch (random.below(7)) {
    case 0: {
      STRATA_ASSIGN(const bool erased, map.erase(tx, key.view()));
      CHECK(erased == is_there);
      model.erase(key);
      break;
    }
    case 1: {
      STRATA_ASSIGN(const bool inserted, map.insert(tx, key.view(), value.view()));
      CHECK(inserted != is_there);
      model.emplace(key, value);
      break;
    }
    case 2: {
      const auto sum = map.add(tx, key.view(), 3);
      if (is_there && place->second.kind != ValueKind::integer) {
        REQUIRE(!sum);
        CHECK(sum.error().code() == Code::invalid_argument);
        break;
      }
      REQUIRE(sum);
      OwnValue& held = model.emplace(key, own(DictionaryValue(0))).first->second;
      held.word += 3;
      CHECK(*sum == static_cast<std::int64_t>(held.word));
      break;
    }
    case 3: {
      // What it is half of the time.
      std::optional<DictionaryValue> expected, desired;
      if (is_there && random.below(2) == 0) expected = place->second.view();
      if (random.below(3) != 0) desired = value.view();
      STRATA_ASSIGN(const bool set, map.compare_and_set(tx, key.view(), expected, desired));
      CHECK(set == (is_there == expected.has_value()));
      if (!set) break;
      if (desired) {
        model.insert_or_assign(key, value);
      } else {
        model.erase(key);
      }
      break;
    }
    default: STRATA_TRY(map.set(tx, key.view(), value.view())); model.insert_or_assign(key, value);
  }
  STRATA_ASSIGN(const auto found, map.get(tx, key.view()));
  const auto now = model.find(key);
  CHECK(found.has_value() == (now != model.end()));
  if (found && now != model.end()) CHECK(own(*found) == now->second);
  CHECK(map.size(tx) == model.size());
  return {};
}

struct OpenedDictionary {
  explicit OpenedDictionary(HeapHost& host, Access access = Access::read_write)
      : segment(host.attach(access)), dictionary(SharedDictionary::open(segment).value()) {}
  Segment segment;
  SharedDictionary dictionary;
};

}  // namespace

TEST_CASE("a_dictionary_does_what_a_private_map_does_also_when_transactions_fail") {
  const unsigned seed = std::random_device()();
  INFO("seed " << seed);
  Random random(seed);
  HeapHost host(MiB(32));
  SharedDictionary dictionary = SharedDictionary::create(host.segment()).value();
  const std::uint64_t blocks = dictionary.heap().check().value().allocated_blocks;
  Model model;
  std::string room;
  for (int round = 0; round < 600; ++round) {
    Model changed = model;
    const bool fails = random.below(4) == 0;
    const auto done = dictionary.transact([&](Transaction& tx, Dictionary& map) -> Result<void> {
      for (std::uint64_t i = 0, count = 1 + random.below(20); i < count; ++i)
        STRATA_TRY(random_change(random, tx, map, changed));
      if (fails) return fail(Code::failed_precondition, "no");
      return {};
    });
    CHECK(done.has_value() == !fails);
    if (!fails) model = changed;
    const OwnKey key = random.key();
    const auto found = dictionary.get(key.view(), room).value();
    REQUIRE(found.has_value() == model.contains(key));
    CHECK(dictionary.contains(key.view()).value() == found.has_value());
    if (found) CHECK(own(*found) == model[key]);
    if (round % 50 == 0) CHECK(contents(dictionary) == model);
  }
  CHECK(model.size() > 100);
  CHECK(contents(dictionary) == model);
  expect_sound(dictionary);
  REQUIRE(dictionary.clear());
  CHECK(contents(dictionary).empty());
  CHECK(dictionary.size().value() == 0);
  expect_sound(dictionary);
  CHECK(dictionary.heap().check().value().allocated_blocks == blocks);
}

TEST_CASE("keys_of_the_same_bytes_and_of_other_kinds_are_different_keys") {
  HeapHost host;
  SharedDictionary dictionary = SharedDictionary::create(host.segment()).value();
  const std::int64_t number = 0x6162636465666768;  // "hgfedcba"
  REQUIRE(dictionary.set("hgfedcba", "text"));
  REQUIRE(dictionary.set(DictionaryKey::of_bytes("hgfedcba"), "bytes"));
  REQUIRE(dictionary.set(number, "number"));
  CHECK(dictionary.size().value() == 3);
  std::string room;
  CHECK(dictionary.get("hgfedcba", room).value()->bytes == "text");
  CHECK(dictionary.get(DictionaryKey::of_bytes("hgfedcba"), room).value()->bytes == "bytes");
  CHECK(dictionary.get(number, room).value()->bytes == "number");
}

TEST_CASE("values_come_back_as_they_were_to_the_last_bit") {
  HeapHost host(MiB(32));
  SharedDictionary dictionary = SharedDictionary::create(host.segment()).value();
  const std::string large(MiB(3) + 5, 'x');
  const std::string with_zero("a\0b", 3);
  const DictionaryValue values[] = {
      DictionaryValue(),
      true,
      false,
      std::numeric_limits<std::int64_t>::min(),
      -0.0,
      std::nan("7"),
      "",
      std::string_view(with_zero),
      DictionaryValue::of_bytes(""),
      DictionaryValue::of_bytes(large),
      DictionaryValue::of_other(0xFFFF'FFFF, "pickled"),
  };
  std::string room;
  // Each takes the place of each.
  for (const DictionaryValue& before : values) {
    for (const DictionaryValue& value : values) {
      REQUIRE(dictionary.set("key", before));
      REQUIRE(dictionary.set("key", value));
      const auto found = dictionary.get("key", room).value();
      REQUIRE(found);
      CHECK(*found == value);
    }
  }
  CHECK(std::signbit(DictionaryValue(-0.0).real()));
  expect_sound(dictionary);
}

TEST_CASE("a_full_heap_is_exhausted_with_nothing_changed_and_what_is_erased_is_used_again") {
  HeapHost host(MiB(2));
  SharedDictionary dictionary = SharedDictionary::create(host.segment()).value();
  const std::string value(1000, 'v');
  std::int64_t count = 0;
  Result<void> set;
  while ((set = dictionary.set(count, value)))
    ++count;
  CHECK(set.error().code() == Code::exhausted);
  CHECK(count > 500);
  CHECK(dictionary.size().value() == static_cast<std::uint64_t>(count));
  CHECK(!dictionary.contains(count).value());
  // Two of which one has room leave nothing.
  REQUIRE(dictionary.erase(0).value());
  const auto both = dictionary.transact([&](Transaction& tx, Dictionary& map) -> Result<void> {
    STRATA_TRY(map.set(tx, "first", value));
    return map.set(tx, "second", DictionaryValue(std::string(MiB(4), 'x')));
  });
  REQUIRE(!both);
  CHECK(both.error().code() == Code::exhausted);
  CHECK(!dictionary.contains("first").value());
  // A number still fits where a number was, and a clear needs no memory.
  expect_sound(dictionary);
  for (int round = 0; round < 3; ++round) {
    REQUIRE(dictionary.clear());
    for (std::int64_t i = 0; i < count - 1; ++i)
      REQUIRE(dictionary.set(i, value));
  }
  expect_sound(dictionary);
}

TEST_CASE("errors_of_a_change_say_why_and_leave_the_value") {
  HeapHost host;
  SharedDictionary dictionary = SharedDictionary::create(host.segment()).value();
  REQUIRE(dictionary.set("text", "no number"));
  const auto text = dictionary.add("text", 1);
  REQUIRE(!text);
  CHECK(text.error().code() == Code::invalid_argument);
  REQUIRE(dictionary.set("most", std::numeric_limits<std::int64_t>::max()));
  const auto over = dictionary.add("most", 1);
  REQUIRE(!over);
  CHECK(over.error().code() == Code::invalid_argument);
  std::string room;
  CHECK(dictionary.get("most", room).value()->integer() ==
        std::numeric_limits<std::int64_t>::max());
  CHECK(dictionary.pop("text", room).value()->bytes == "no number");
  CHECK(!dictionary.pop("text", room).value());
}

TEST_CASE("whoever_may_only_read_reads_and_is_told_that_it_may_not_change") {
  HeapHost host;
  SharedDictionary dictionary = SharedDictionary::create(host.segment()).value();
  REQUIRE(dictionary.set("a", 1));
  OpenedDictionary reader(host, Access::read_only);
  std::string room;
  CHECK(reader.dictionary.get("a", room).value()->integer() == 1);
  REQUIRE(dictionary.set("a", 2));
  CHECK(reader.dictionary.get("a", room).value()->integer() == 2);
  CHECK(contents(reader.dictionary).size() == 1);
  const auto set = reader.dictionary.set("a", 3);
  REQUIRE(!set);
  CHECK(set.error().code() == Code::failed_precondition);
  // In the middle of a commit it waits, and says so in the end.
  auto& sequence = *reinterpret_cast<std::uint64_t*>(&dictionary.map());
  ++sequence;
  const auto get = reader.dictionary.get("a", room, {.timeout_ms = 1});
  REQUIRE(!get);
  CHECK(get.error().code() == Code::timed_out);
  // A writer has the lock, and with it the end of the commit: what is still odd then is damage.
  const auto damaged = dictionary.get("a", room);
  REQUIRE(!damaged);
  CHECK(damaged.error().code() == Code::corrupt);
  ++sequence;
  CHECK(reader.dictionary.get("a", room).value()->integer() == 2);
}

TEST_CASE("others_follow_a_dictionary_that_has_grown_its_segment") {
  HeapHost host(MiB(1), MiB(64));
  SharedDictionary dictionary = SharedDictionary::create(host.segment()).value();
  OpenedDictionary other(host);
  OpenedDictionary reader(host, Access::read_only);
  const std::string value(MiB(2), 'v');
  for (int i = 0; i < 8; ++i)
    REQUIRE(dictionary.set(i, value));
  std::string room;
  CHECK(other.dictionary.get(7, room).value()->bytes == value);
  CHECK(reader.dictionary.get(7, room).value()->bytes == value);
  CHECK(other.dictionary.pop(6, room).value()->bytes == value);
  CHECK(contents(reader.dictionary).size() == 7);
}

TEST_CASE("opening_what_is_no_dictionary_says_so") {
  HeapHost host;
  CHECK(!SharedDictionary::open(host.segment()));
  Heap heap = Heap::create(host.segment()).value();
  const auto none = SharedDictionary::open(host.segment());
  REQUIRE(!none);
  CHECK(none.error().code() == Code::not_found);
  REQUIRE(heap.make<std::uint64_t>("dictionary", 1));
  const auto other = SharedDictionary::open(host.segment());
  REQUIRE(!other);
  CHECK(other.error().code() == Code::invalid_argument);
}

TEST_CASE("an_open_transaction_shows_nothing_to_others_until_it_commits") {
  HeapHost host;
  SharedDictionary dictionary = SharedDictionary::create(host.segment()).value();
  OpenTransaction open = dictionary.begin().value();
  Transaction& tx = *open.transaction().value();
  REQUIRE(dictionary.map().set(tx, "a", 1));
  REQUIRE(dictionary.map().set(tx, "b", "two"));
  CHECK(dictionary.map().get(tx, "b").value()->bytes == "two");
  CHECK(dictionary.size().value() == 0);
  REQUIRE(open.commit());
  CHECK(dictionary.size().value() == 2);
}

// A reader sees two keys that every commit makes equal, in the order in which they were made, and
// no byte of another value, while three processes change them and others are killed at it.
TEST_CASE("readers_without_a_lock_see_whole_commits_while_writers_are_killed") {
  HeapHost host(MiB(64));
  SharedDictionary dictionary = SharedDictionary::create(host.segment()).value();
  const auto write = [&host](unsigned seed) {
    OpenedDictionary mine(host);
    Random random(seed);
    while (true) {
      const std::string value(random.below(random.below(4) == 0 ? 300'000 : 100),
                              static_cast<char>('a' + random.below(26)));
      const auto done = mine.dictionary.transact(
          [&](Transaction& tx, Dictionary& map) -> Result<void> {
            STRATA_ASSIGN(const std::int64_t next, map.add(tx, "first", 1));
            STRATA_TRY(map.set(tx, "value", value));
            STRATA_TRY(map.set(tx, next, next));
            STRATA_TRY(map.erase(tx, next - 200));
            return map.set(tx, "second", next);
          },
          {.timeout_ms = 60'000});
      if (!done) return 1;
    }
  };
  const auto read = [&host](std::uint64_t commits) {
    OpenedDictionary mine(host);
    std::string room;
    std::int64_t last = 0;
    while (static_cast<std::uint64_t>(last) < commits) {
      // Asked for in this order, they may only grow.
      for (const char* const key : {"first", "second", "first"}) {
        const auto value = mine.dictionary.get(key, room, {.timeout_ms = 60'000});
        if (!value) return 2;
        if (!*value) continue;
        if ((*value)->integer() < last) return 3;
        last = (*value)->integer();
      }
      const auto value = mine.dictionary.get("value", room, {.timeout_ms = 60'000});
      if (!value) return 4;
      if (*value && (*value)->bytes.find_first_not_of((*value)->bytes.substr(0, 1)) !=
                        std::string_view::npos) {
        return 5;
      }
    }
    return 0;
  };
  std::vector<pid_t> readers;
  for (int i = 0; i < 2; ++i)
    readers.push_back(start_child([&] { return read(3000); }));
  std::vector<pid_t> writers;
  for (unsigned i = 0; i < 3; ++i)
    writers.push_back(start_child([&, i] { return write(i); }));
  std::mt19937 random(std::random_device{}());
  std::string room;
  for (unsigned i = 0; i < 30; ++i) {
    // Not for a while, but for some commits.
    const auto first = dictionary.get("first", room, {.timeout_ms = 60'000}).value();
    const std::int64_t until = (first ? first->integer() : 0) + 20 + random() % 50;
    while (true) {
      const auto now = dictionary.get("first", room, {.timeout_ms = 60'000}).value();
      if (now && now->integer() >= until) break;
      std::this_thread::yield();
    }
    pid_t& writer = writers[random() % writers.size()];
    kill_child(writer);
    writer = start_child([&, i] { return write(100 + i); });
  }
  for (const pid_t reader : readers)
    CHECK(wait_for(reader) == 0);
  for (const pid_t writer : writers)
    kill_child(writer);
  REQUIRE(dictionary.set("last", 1));
  CHECK(dictionary.get("first", room).value() == dictionary.get("second", room).value());
  expect_sound(dictionary);
}

TEST_CASE("a_forked_child_reads_at_once_and_is_told_to_open_anew_before_it_changes") {
  HeapHost host;
  SharedDictionary dictionary = SharedDictionary::create(host.segment()).value();
  REQUIRE(dictionary.set("a", 1));
  CHECK(child_says([&] {
    std::string room;
    const auto set = dictionary.set("a", 2);
    return !dictionary.is_of_this_process() && dictionary.get("a", room).value()->integer() == 1 &&
           !set && set.error().code() == Code::failed_precondition;
  }));
}

TEST_CASE("many_keys_split_the_table_evenly") {
  HeapHost host(MiB(128));
  SharedDictionary dictionary = SharedDictionary::create(host.segment()).value();
  constexpr std::int64_t kKeys = 100'000;
  for (std::int64_t i = 0; i < kKeys; ++i)
    REQUIRE(dictionary.set(i, i));
  const DictionaryReport report = dictionary.check().value();
  CHECK(report.findings.empty());
  CHECK(report.keys == kKeys);
  CHECK(report.buckets == kKeys);
  CHECK(report.longest_chain < 20);
  std::string room;
  for (std::int64_t i = 0; i < kKeys; ++i)
    REQUIRE(dictionary.get(i, room).value()->integer() == i);
}
