// Lists that an earlier program wrote; docs/format/list.md is the text of the same contract.
#include <fstream>
#include <iterator>

#include "tests/catch.h"
#include "tests/format/golden.h"
#include "tests/format/golden_list.h"
#include "tests/format/golden_segment.h"

using namespace strata;
using namespace strata::golden;

namespace {

std::string golden_lists() {
  std::ifstream file("tests/format/lists_v1.bin", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("lists_are_the_committed_golden_file") { check_golden(make_lists(), "lists_v1.bin"); }

TEST_CASE("lists_of_an_earlier_program_give_the_items_that_were_put_in") {
  // In memory that is aligned as a segment is.
  const std::string file = golden_lists();
  std::vector<std::uint64_t> words(file.size() / 8);
  std::memcpy(words.data(), file.data(), file.size());
  const std::span<const std::byte> bytes = std::as_bytes(std::span(words));
  const ListPlaces at;
  REQUIRE(bytes.size() == at.end);

  const Int64List integers = Int64List::open(bytes.subspan(at.integers)).value();
  CHECK(std::equal(integers.values().begin(), integers.values().end(), kIntegers.begin(),
                   kIntegers.end()));
  const Float64List reals = Float64List::open(bytes.subspan(at.reals)).value();
  CHECK(std::equal(reals.values().begin(), reals.values().end(), kReals.begin(), kReals.end()));
  const BytesList items = BytesList::open(bytes.subspan(at.bytes)).value();
  CHECK(items.check());
  const StringList texts = StringList::open(bytes.subspan(at.texts)).value();
  CHECK(texts.check());
  REQUIRE((items.size() == kBytes.size() && texts.size() == kTexts.size()));
  for (std::size_t i = 0; i < kBytes.size(); ++i) {
    CHECK(items[i] == kBytes[i]);
    CHECK(texts[i] == kTexts[i]);
  }
  const BitList bits = BitList::open(bytes.subspan(at.bits)).value();
  REQUIRE(bits.size() == kBitCount);
  for (std::uint64_t i = 0; i < kBitCount; ++i)
    CHECK(bits[i] == (i == 0 || i == 2 || i == 63 || i == 64));
}

TEST_CASE("the_words_of_a_list_are_where_the_format_says") {
  const std::string file = golden_lists();
  const auto bytes = std::as_bytes(std::span(file));
  const ListPlaces at;
  const std::uint64_t places[] = {at.integers, at.reals, at.bytes, at.texts, at.bits};
  for (std::uint32_t kind = 1; kind <= 5; ++kind) {
    const auto list = bytes.subspan(places[kind - 1]);
    CHECK(file.substr(places[kind - 1], 8) == "STRALIST");
    CHECK(number_at<std::uint32_t>(list, 8) == 1);
    CHECK(number_at<std::uint32_t>(list, 12) == kind);
    CHECK(number_at<std::uint64_t>(list, 16) == (kind == 5 ? kBitCount : 3));
  }
  CHECK(number_at<std::int64_t>(bytes, at.integers + 64) == -1);
  // The offsets of three items of 3, 0 and 1 bytes, then the bytes.
  CHECK(number_at<std::uint64_t>(bytes, at.bytes + 24) == 4);
  CHECK(number_at<std::uint64_t>(bytes, at.bytes + 64 + 8) == 3);
  CHECK(number_at<std::uint64_t>(bytes, at.bytes + 64 + 24) == 4);
  CHECK(file.substr(at.bytes + 64 + 32, 4) == std::string("a\0b\xff", 4));
}
