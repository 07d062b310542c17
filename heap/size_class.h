// Size classes: the block sizes that a span can be cut into.
//   Up to 256 bytes every multiple of 16; beyond that eight classes to each doubling, so that a
//   block wastes at most an eighth of itself. A span is as many units as keep the waste at its
//   end to an eighth, too.
//   Threads:  constants.
// docs/format/heap.md lists them; a change is a change of the format.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace strata::heap_layout {

inline constexpr std::uint64_t kUnitBytes = std::uint64_t{64} << 10;
inline constexpr unsigned kUnitShift = 16;
inline constexpr unsigned kClassCount = 104;
inline constexpr unsigned kLargeClass = 127;  // one block that takes a whole run of units
inline constexpr std::uint64_t kMaxClassBytes = std::uint64_t{512} << 10;
inline constexpr unsigned kBlocksPerWord = 32;  // two bits each
inline constexpr unsigned kInlineWords = 6;

constexpr std::uint32_t class_bytes(unsigned index) {
  if (index < 16) return 16 * (index + 1);
  const unsigned doubling = (index - 16) / 8, eighth = (index - 16) % 8 + 1;
  return (std::uint32_t{256} << doubling) + (std::uint32_t{32} << doubling) * eighth;
}
static_assert(class_bytes(15) == 256 && class_bytes(16) == 288);
static_assert(class_bytes(kClassCount - 1) == kMaxClassBytes);

// The smallest class that holds `bytes` (1 to kMaxClassBytes).
constexpr unsigned class_of(std::uint64_t bytes) {
  if (bytes <= 256) return bytes == 0 ? 0 : static_cast<unsigned>((bytes - 1) / 16);
  const unsigned top = 63 - static_cast<unsigned>(std::countl_zero(bytes - 1));  // 8 and above
  return 16 + (top - 8) * 8 + static_cast<unsigned>(((bytes - 1) >> (top - 3)) & 7);
}
static_assert(class_of(256) == 15 && class_of(257) == 16 && class_of(288) == 16);
static_assert(class_of(289) == 17 && class_of(512) == 23 && class_of(513) == 24);
static_assert(class_of(kMaxClassBytes) == kClassCount - 1);

struct ClassInfo {
  std::uint32_t block_bytes;
  std::uint32_t units;        // of a span
  std::uint32_t blocks;       // of a span
  std::uint32_t words;        // of its bitmap
  std::uint32_t first_block;  // bytes from the start of the span
  std::uint32_t is_inline;    // 1: the bitmap stands in the descriptor, else in the span's head
  std::uint64_t reciprocal;   // ceil(2^32 / (block_bytes / 16))
};

constexpr ClassInfo make_class(unsigned index) {
  ClassInfo info{};
  info.block_bytes = class_bytes(index);
  for (std::uint32_t units = 1;; ++units) {
    const std::uint64_t span = units * kUnitBytes;
    std::uint64_t blocks = span / info.block_bytes;
    std::uint64_t head = 0;
    const bool is_inline = blocks <= kInlineWords * kBlocksPerWord;
    if (!is_inline) {
      // The bitmap takes whole cache lines, so that blocks keep an alignment of 64.
      while (true) {
        const std::uint64_t words = (blocks + kBlocksPerWord - 1) / kBlocksPerWord;
        head = (words * 8 + 63) / 64 * 64;
        if (head + blocks * info.block_bytes <= span) break;
        --blocks;
      }
    }
    if (blocks == 0 || (span - blocks * info.block_bytes) * 8 > span) continue;
    info.units = units;
    info.blocks = static_cast<std::uint32_t>(blocks);
    info.words = (info.blocks + kBlocksPerWord - 1) / kBlocksPerWord;
    info.first_block = static_cast<std::uint32_t>(head);
    info.is_inline = is_inline ? 1 : 0;
    break;
  }
  const std::uint64_t sixteenths = info.block_bytes / 16;
  info.reciprocal = ((std::uint64_t{1} << 32) + sixteenths - 1) / sixteenths;
  return info;
}

constexpr std::array<ClassInfo, kClassCount> make_classes() {
  std::array<ClassInfo, kClassCount> classes{};
  for (unsigned i = 0; i < kClassCount; ++i)
    classes[i] = make_class(i);
  return classes;
}
inline constexpr std::array<ClassInfo, kClassCount> kClasses = make_classes();
static_assert(kClasses[3].block_bytes == 64 && kClasses[3].blocks == 1020);
static_assert(kClasses[kClassCount - 1].units == 8 && kClasses[kClassCount - 1].blocks == 1);

// Which block of its span begins at `distance` bytes after the first; the caller compares
// index * block_bytes with `distance`, which tells a misaligned place. Exact for distances below
// 2^20 (a span has at most 8 units): the error of the reciprocal stays below 1/65536.
constexpr std::uint32_t block_index(const ClassInfo& info, std::uint64_t distance) {
  return static_cast<std::uint32_t>(((distance >> 4) * info.reciprocal) >> 32);
}

}  // namespace strata::heap_layout
