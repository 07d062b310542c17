// The bytes of a dictionary, held against a committed file; docs/format/dictionary.md is the text
// of the same contract. What the file holds, one after the other: the dictionary itself; its first
// segment; its nodes, in order of buckets and chains.
#include <cstring>
#include <vector>

#include "heap/heap_testing.h"
#include "strata/heap/shared_dictionary.h"
#include "tests/catch.h"
#include "tests/format/golden.h"
#include "tests/format/golden_segment.h"

using namespace strata;
using namespace strata::test;
using strata::golden::number_at;

namespace {

constexpr std::uint64_t kBuckets = 16;

// With a seed of its own. Each commit is one of three: a set, a set over it, an erase.
SharedDictionary make_dictionary(Segment& segment) {
  Heap heap = Heap::create(segment).value();
  REQUIRE(heap.make_transaction_log({.slot_count = 4, .slot_bytes = KiB(16)}));
  REQUIRE(heap.make<SharedDictionaryRoot>("dictionary", std::uint64_t{42}));
  SharedDictionary dictionary = SharedDictionary::open(segment).value();
  REQUIRE(dictionary.set("text", "a value"));
  REQUIRE(dictionary.set(DictionaryKey::of_bytes("text"), DictionaryValue::of_bytes("\xff")));
  REQUIRE(dictionary.set(-7, 0.5));
  REQUIRE(dictionary.set("gone", true));
  REQUIRE(dictionary.set("", DictionaryValue::of_other(9, "other")));
  REQUIRE(dictionary.set("number", -1));
  REQUIRE(dictionary.set("none", DictionaryValue()));
  REQUIRE(dictionary.erase("gone").value());
  REQUIRE(dictionary.add("number", 43));
  return dictionary;
}

std::vector<std::byte> bytes_of(SharedDictionary& dictionary) {
  const std::byte* const base = dictionary.heap().base();
  const std::span<const std::byte> payload(base, MiB(2));
  std::vector<std::byte> bytes;
  const auto add = [&](std::uint64_t offset, std::uint64_t count) {
    bytes.insert(bytes.end(), base + offset, base + offset + count);
  };
  const auto root =
      static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&dictionary.map()) - base);
  add(root, sizeof(Dictionary));
  const auto segment = number_at<std::uint64_t>(payload, root + 72);
  add(segment, kBuckets * 8);
  for (std::uint64_t bucket = 0; bucket < kBuckets; ++bucket) {
    for (auto node = number_at<std::uint64_t>(payload, segment + bucket * 8); node != 0;
         node = number_at<std::uint64_t>(payload, node)) {
      const bool has_bytes = number_at<std::uint32_t>(payload, node + 40) >= 5;
      add(node, 56 + align_up(number_at<std::uint64_t>(payload, node + 24), 8) +
                    (has_bytes ? align_up(number_at<std::uint64_t>(payload, node + 48), 8) : 0));
    }
  }
  return bytes;
}

}  // namespace

TEST_CASE("a_dictionary_is_the_committed_golden_file") {
  HeapHost host(MiB(2));
  SharedDictionary dictionary = make_dictionary(host.segment());
  check_golden(bytes_of(dictionary), "dictionary_v1.bin");
}

TEST_CASE("the_words_of_a_dictionary_are_where_the_format_says") {
  std::ifstream file("tests/format/dictionary_v1.bin", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto bytes = std::as_bytes(std::span(text));
  CHECK(number_at<std::uint64_t>(bytes, 0) == 18);  // nine commits
  CHECK(number_at<std::uint64_t>(bytes, 8) == 6);
  CHECK(number_at<std::uint64_t>(bytes, 16) == 42);
  CHECK(number_at<std::uint64_t>(bytes, 64) == kBuckets);
  CHECK(number_at<std::uint64_t>(bytes, 384) == 0);
  // Each node by its stamp: those of the odd sequences of the commits that made them.
  std::vector<std::uint64_t> stamps;
  for (std::uint64_t at = sizeof(Dictionary) + kBuckets * 8; at < bytes.size();) {
    const auto node = bytes.subspan(at);
    const auto stamp = number_at<std::uint64_t>(node, 16);
    const auto key_bytes = number_at<std::uint64_t>(node, 24);
    const auto kind = number_at<std::uint32_t>(node, 40);
    const auto value = number_at<std::uint64_t>(node, 48);
    const std::uint64_t value_at = 56 + (key_bytes + 7) / 8 * 8;
    const std::string_view key = std::string_view(text).substr(at + 56, key_bytes);
    stamps.push_back(stamp);
    const auto key_kind = number_at<std::uint8_t>(node, 32);
    switch (stamp) {
      case 1:
        CHECK((key == "text" && key_kind == 2 && kind == 6 && value == 7));
        CHECK(text.substr(at + value_at, 8) == std::string("a value\0", 8));
        break;
      case 3: CHECK((key == "text" && key_kind == 1 && kind == 5 && value == 1)); break;
      case 5:
        CHECK((number_at<std::int64_t>(node, 56) == -7 && key_kind == 3 && kind == 4));
        CHECK(number_at<double>(node, 48) == 0.5);
        break;
      case 9:
        CHECK((key.empty() && kind == 7 && number_at<std::uint32_t>(node, 44) == 9 && value == 5));
        CHECK(text.substr(at + value_at, 5) == "other");
        break;
      case 11: CHECK((key == "number" && kind == 3 && value == 42)); break;
      case 13: CHECK((key == "none" && kind == 1)); break;
      default: FAIL_CHECK("stamp " << stamp);
    }
    at += value_at + (kind >= 5 ? (value + 7) / 8 * 8 : 0);
  }
  CHECK(stamps.size() == 6);
}
