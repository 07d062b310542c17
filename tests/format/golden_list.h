// What lists_v1.bin holds: a list of each kind, one behind the other, each at a multiple of 64.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "strata/base/bytes.h"
#include "strata/heap/list.h"

namespace strata::inline v0_1::golden {

inline constexpr std::array<std::int64_t, 3> kIntegers = {-1, 0, 0x0123456789abcdef};
inline constexpr std::array<double, 3> kReals = {0.5, -2.0, 1e300};
inline constexpr std::array<std::string_view, 3> kBytes = {std::string_view("a\0b", 3), "", "\xff"};
inline constexpr std::array<std::string_view, 3> kTexts = {"mesh", "", "k\xc3\xa4se"};
inline constexpr std::array<std::uint64_t, 2> kBits = {0x8000000000000005, 1};
inline constexpr std::uint64_t kBitCount = 66;

// Where the list of each kind begins, and the end of all.
struct ListPlaces {
  std::uint64_t integers = 0;
  std::uint64_t reals = align_up(integers + Int64List::bytes_for(kIntegers.size()), 64);
  std::uint64_t bytes = align_up(reals + Float64List::bytes_for(kReals.size()), 64);
  std::uint64_t texts = align_up(bytes + BytesList::bytes_for(kBytes), 64);
  std::uint64_t bits = align_up(texts + StringList::bytes_for(kTexts), 64);
  std::uint64_t end = align_up(bits + BitList::bytes_for(kBitCount), 64);
};

inline std::vector<std::byte> make_lists() {
  const ListPlaces at;
  std::vector<std::byte> file(at.end);
  const auto from = [&](std::uint64_t offset) { return std::span(file).subspan(offset); };
  STRATA_CHECK(Int64List::write(from(at.integers), kIntegers));
  STRATA_CHECK(Float64List::write(from(at.reals), kReals));
  STRATA_CHECK(BytesList::write(from(at.bytes), kBytes));
  STRATA_CHECK(StringList::write(from(at.texts), kTexts));
  STRATA_CHECK(BitList::write(from(at.bits), kBits, kBitCount));
  return file;
}

}  // namespace strata::inline v0_1::golden
