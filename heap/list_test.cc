#include "strata/heap/list.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "heap/heap_testing.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;

namespace {

// Exactly as many bytes as asked for, aligned, so that sanitizers see every step beyond.
struct Bytes {
  explicit Bytes(std::uint64_t bytes) : memory((bytes + 7) / 8), size(bytes) {}
  std::span<std::byte> span() { return {reinterpret_cast<std::byte*>(memory.data()), size}; }
  std::vector<std::uint64_t> memory;
  std::uint64_t size;
};

const std::vector<std::string_view> kWords = {"",   "a", "grün", "", "日本", "\xF0\x9F\x98\x80",
                                              "end"};

Bytes word_list() {
  Bytes bytes(StringList::bytes_for(kWords));
  REQUIRE(StringList::write(bytes.span(), kWords));
  return bytes;
}

}  // namespace

TEST_CASE("lists_give_back_what_was_written") {
  const std::vector<std::int64_t> ints = {0, -1, INT64_MAX, INT64_MIN, 7};
  Bytes int_bytes(Int64List::bytes_for(ints.size()));
  REQUIRE(Int64List::write(int_bytes.span(), ints));
  const Int64List int_list = Int64List::open(int_bytes.span()).value();
  CHECK(std::vector<std::int64_t>(int_list.values().begin(), int_list.values().end()) == ints);
  CHECK(int_list[3] == INT64_MIN);

  const std::vector<double> doubles = {0.5, -1e300};
  Bytes double_bytes(Float64List::bytes_for(doubles.size()));
  REQUIRE(Float64List::write(double_bytes.span(), doubles));
  CHECK(Float64List::open(double_bytes.span()).value()[1] == -1e300);

  Bytes words = word_list();
  const StringList strings = StringList::open(words.span()).value();
  REQUIRE(strings.size() == kWords.size());
  for (std::size_t i = 0; i < kWords.size(); ++i)
    CHECK(strings[i] == kWords[i]);
  CHECK(strings.check());

  const std::uint64_t bits[] = {0xF0F0, ~std::uint64_t{0}};
  Bytes bit_bytes(BitList::bytes_for(70));
  REQUIRE(BitList::write(bit_bytes.span(), bits, 70));
  const BitList bit_list = BitList::open(bit_bytes.span()).value();
  CHECK(bit_list.size() == 70);
  CHECK(bit_list[4]);
  CHECK(!bit_list[0]);
  CHECK(bit_list.count_set() == 8 + 6);
}

TEST_CASE("empty_lists_are_lists") {
  Bytes ints(Int64List::bytes_for(0)), words(BytesList::bytes_for({})), bits(BitList::bytes_for(0));
  REQUIRE(Int64List::write(ints.span(), {}));
  REQUIRE(BytesList::write(words.span(), {}));
  REQUIRE(BitList::write(bits.span(), {}, 0));
  CHECK(Int64List::open(ints.span()).value().size() == 0);
  CHECK(BytesList::open(words.span()).value().size() == 0);
  CHECK(BytesList::open(words.span()).value().check());
  CHECK(BitList::open(bits.span()).value().count_set() == 0);
}

TEST_CASE("a_list_of_another_kind_version_or_size_is_refused") {
  Bytes words = word_list();
  CHECK(Int64List::open(words.span()).error().code() == Code::unsupported);
  CHECK(BytesList::open(words.span()).error().code() == Code::unsupported);
  CHECK(StringList::open(words.span().first(words.size - 1)).error().code() == Code::corrupt);
  CHECK(StringList::open(words.span().first(10)).error().code() == Code::corrupt);
  for (std::size_t at = 0; at < sizeof(ListHead); ++at) {
    INFO("byte " << at);
    words.span()[at] ^= std::byte{1};
    CHECK(!StringList::open(words.span()));
    words.span()[at] ^= std::byte{1};
  }
  std::vector<std::byte> small(40);
  CHECK(StringList::write(small, kWords).error().code() == Code::exhausted);
}

TEST_CASE("damaged_offsets_never_lead_outside_and_check_finds_them") {
  const unsigned seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 2000; ++round) {
    Bytes words = word_list();
    const std::uint64_t bad = round % 2 == 0 ? random() : random() % 64;
    const std::size_t which = random() % (kWords.size() + 1);
    std::memcpy(words.span().data() + sizeof(ListHead) + which * 8, &bad, sizeof(bad));
    const StringList list = StringList::open(words.span()).value();
    const auto* const begin = reinterpret_cast<const char*>(words.span().data());
    std::vector<std::uint64_t> offsets(kWords.size() + 1);
    std::memcpy(offsets.data(), words.span().data() + sizeof(ListHead), offsets.size() * 8);
    bool is_sound = offsets.front() == 0 && std::is_sorted(offsets.begin(), offsets.end()) &&
                    offsets.back() == words.size - sizeof(ListHead) - offsets.size() * 8;
    for (std::uint64_t i = 0; i < list.size(); ++i) {
      const std::string_view item = list[i];
      is_sound = is_sound && is_utf8(item);
      if (!item.empty()) {
        CHECK(item.data() >= begin);
        CHECK(item.data() + item.size() <= begin + words.size);
      }
    }
    CHECK(list.check().has_value() == is_sound);
  }
}

TEST_CASE("utf8_is_what_rfc_3629_says") {
  for (const char* good :
       {"", "ascii only, long", "\u00e9", "\u0800", "\uffff", "\U00010000", "\U0010ffff"})
    CHECK(is_utf8(good));
  for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x9F\xBF", "\xED\xA0\x80",
                          "\xEF\xBF", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
                          "12345678\xFF", "\xE2\x28\xA1"}) {
    CHECK(!is_utf8(bad));
  }
  const std::string_view items[] = {"good", "\xC3\x28"};
  Bytes bytes(StringList::bytes_for(items));
  const auto written = StringList::write(bytes.span(), items);
  REQUIRE(!written);
  CHECK(written.error().code() == Code::invalid_argument);
  CHECK(BytesList::write(bytes.span(), items));
}

TEST_CASE("processes_read_a_list_in_a_heap_where_it_lies") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  const std::uint64_t size = StringList::bytes_for(kWords);
  std::byte* const bytes = heap.get(heap.allocate(size, 8).value(), size);
  REQUIRE(StringList::write({bytes, size}, kWords));
  heap.root(0)->bytes = heap.offset_of(bytes).bytes;
  CHECK(in_child([&] {
          Opened mine(host);
          const std::byte* const at = mine.heap.get(*mine.heap.root(0), size);
          const auto list = StringList::open({at, size});
          STRATA_CHECK(list && list->check() && (*list)[2] == "grün");
        }) == 0);
}

TEST_CASE("a_list_can_be_a_whole_sealed_segment") {
  RealOs os;
  FakeBackend backend(os);
  const std::vector<std::int64_t> values = {1, 2, 3};
  Segment segment =
      backend
          .create(SegmentUri::parse("fake:list").value(),
                  {.payload_bytes = Int64List::bytes_for(values.size()), .placement = {}})
          .value();
  REQUIRE(Int64List::write(segment.writable_bytes().value(), values));
  REQUIRE(segment.seal());
  REQUIRE(segment.verify());
  CHECK(Int64List::open(segment.host_bytes().value()).value()[2] == 3);
}
