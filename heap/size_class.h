// Size classes: the block sizes that a span can be cut into.
//   Up to 256 bytes every multiple of 16; beyond that eight classes to each doubling, so that a
//   block wastes at most an eighth of itself. A span is the fewest units that waste at most a
//   sixteenth at its end or, where no span of up to 8 does, those that waste least.
//   Threads:  constants.
// docs/format/heap.md lists them; a change is a change of the format.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace strata::inline v0_1::heap_layout {

inline constexpr std::uint64_t kUnitBytes = std::uint64_t{64} << 10;
inline constexpr unsigned kUnitShift = 16;
inline constexpr unsigned kClassCount = 104;
inline constexpr unsigned kLargeClass = 127;  // one block that takes a whole run of units
inline constexpr std::uint64_t kMaxClassBytes = std::uint64_t{512} << 10;
inline constexpr unsigned kBlocksPerWord = 32;  // two bits each, in two words
inline constexpr unsigned kInlineWords = 35;
inline constexpr unsigned kBlockWordBytes = 16;
inline constexpr std::uint32_t kMaxSpanUnits = 8;

constexpr std::uint32_t class_bytes(unsigned index) {
  if (index < 16) return 16 * (index + 1);
  const unsigned doubling = (index - 16) / 8, eighth = (index - 16) % 8 + 1;
  return (std::uint32_t{256} << doubling) + (std::uint32_t{32} << doubling) * eighth;
}
static_assert(class_bytes(15) == 256 && class_bytes(16) == 288);
static_assert(class_bytes(kClassCount - 1) == kMaxClassBytes);

constexpr unsigned compute_class(std::uint64_t bytes) {
  if (bytes <= 256) return bytes == 0 ? 0 : static_cast<unsigned>((bytes - 1) / 16);
  const unsigned top = 63 - static_cast<unsigned>(std::countl_zero(bytes - 1));  // 8 and above
  return 16 + (top - 8) * 8 + static_cast<unsigned>(((bytes - 1) >> (top - 3)) & 7);
}

// By sixteenths, for what is small: sizes that vary would mispredict the branch above.
inline constexpr std::uint64_t kTabledBytes = 1024;
inline constexpr auto kClassTable = [] {
  std::array<std::uint8_t, kTabledBytes / 16 + 1> table{};
  for (unsigned i = 0; i < table.size(); ++i)
    table[i] = static_cast<std::uint8_t>(compute_class(std::uint64_t{i} * 16));
  return table;
}();

// The smallest class that holds `bytes` (1 to kMaxClassBytes).
constexpr unsigned class_of(std::uint64_t bytes) {
  return bytes <= kTabledBytes ? kClassTable[(bytes + 15) / 16] : compute_class(bytes);
}
static_assert(class_of(256) == 15 && class_of(257) == 16 && class_of(288) == 16);
static_assert(class_of(289) == 17 && class_of(512) == 23 && class_of(513) == 24);
static_assert(class_of(kMaxClassBytes) == kClassCount - 1);

struct alignas(32) ClassInfo {
  std::uint32_t block_bytes;
  std::uint32_t units;        // of a span
  std::uint32_t blocks;       // of a span
  std::uint32_t words;        // of its bitmap
  std::uint32_t first_block;  // bytes from the start of the span
  std::uint32_t is_inline;    // 1: the bitmap stands in the descriptor, else in the span's head
  std::uint64_t reciprocal;   // ceil(2^32 / (block_bytes / 16))
};

// A span of `units` cut into blocks of `block_bytes`.
constexpr ClassInfo cut_span(std::uint32_t block_bytes, std::uint32_t units) {
  const std::uint64_t span = units * kUnitBytes;
  std::uint64_t blocks = span / block_bytes;
  std::uint64_t head = 0;
  const bool is_inline = blocks <= kInlineWords * kBlocksPerWord;
  if (!is_inline) {
    // The bitmap takes whole cache lines, so that blocks keep an alignment of 64.
    while (true) {
      const std::uint64_t words = (blocks + kBlocksPerWord - 1) / kBlocksPerWord;
      head = (words * kBlockWordBytes + 63) / 64 * 64;
      if (head + blocks * block_bytes <= span) break;
      --blocks;
    }
  }
  return {.block_bytes = block_bytes,
          .units = units,
          .blocks = static_cast<std::uint32_t>(blocks),
          .words = static_cast<std::uint32_t>((blocks + kBlocksPerWord - 1) / kBlocksPerWord),
          .first_block = static_cast<std::uint32_t>(head),
          .is_inline = is_inline ? 1u : 0u,
          .reciprocal = ((std::uint64_t{1} << 32) + block_bytes / 16 - 1) / (block_bytes / 16)};
}

constexpr std::uint64_t waste_of(const ClassInfo& info) {
  return info.units * kUnitBytes - std::uint64_t{info.blocks} * info.block_bytes;
}

constexpr ClassInfo make_class(unsigned index) {
  ClassInfo best{};
  for (std::uint32_t units = 1; units <= kMaxSpanUnits; ++units) {
    const ClassInfo info = cut_span(class_bytes(index), units);
    if (info.blocks == 0) continue;
    if (waste_of(info) * 16 <= units * kUnitBytes) return info;
    if (best.blocks == 0 || waste_of(info) * best.units < waste_of(best) * units) best = info;
  }
  return best;
}

constexpr std::array<ClassInfo, kClassCount> make_classes() {
  std::array<ClassInfo, kClassCount> classes{};
  for (unsigned i = 0; i < kClassCount; ++i)
    classes[i] = make_class(i);
  return classes;
}
inline constexpr std::array<ClassInfo, kClassCount> kClasses = make_classes();
static_assert(kClasses[3].block_bytes == 64 && kClasses[3].blocks == 1024);
static_assert(kClasses[kClassCount - 1].units == 8 && kClasses[kClassCount - 1].blocks == 1);

// Which block of its span begins at `distance` bytes after the first; the caller compares
// index * block_bytes with `distance`, which tells a misaligned place. Exact for distances below
// 2^20 (a span has at most 8 units): the error of the reciprocal stays below 1/65536.
constexpr std::uint32_t block_index(const ClassInfo& info, std::uint64_t distance) {
  return static_cast<std::uint32_t>(((distance >> 4) * info.reciprocal) >> 32);
}

}  // namespace strata::inline v0_1::heap_layout
