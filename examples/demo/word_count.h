// Counting as `LC_ALL=C wc` does it, over any part of a text.
//   Cost:     one pass; nothing is copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace demo {

struct Tally {
  std::uint64_t lines = 0;
  std::uint64_t words = 0;
  std::uint64_t bytes = 0;

  Tally& operator+=(const Tally& other);
  bool operator==(const Tally&) const = default;
};

// Counts `bytes` bytes of `text` from `offset_bytes` on. A word belongs to the part in which its
// first printable character stands, so that the parts of a text add up to the whole.
Tally count(std::string_view text, std::size_t offset_bytes, std::size_t bytes);

}  // namespace demo
