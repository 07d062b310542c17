#include "strata/gpu/interop/region_allocator.h"

#include <fmt/format.h>

#include <bit>

#include "base/check.h"

namespace strata::inline v0_1::interop {
namespace {

std::uint64_t rounded_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

RegionAllocator::RegionAllocator(std::uint64_t bytes) {
  const std::uint64_t usable = bytes / kGranule * kGranule;
  if (usable != 0) add_piece(0, usable);
}

void RegionAllocator::add_piece(std::uint64_t offset, std::uint64_t bytes) {
  pieces_.emplace(offset, bytes);
  by_size_.emplace(bytes, offset);
  free_bytes_ += bytes;
}

RegionAllocator::ByOffset::iterator RegionAllocator::drop_piece(ByOffset::iterator piece) {
  by_size_.erase({piece->second, piece->first});
  free_bytes_ -= piece->second;
  return pieces_.erase(piece);
}

Result<std::uint64_t> RegionAllocator::allocate(std::uint64_t bytes, std::uint64_t alignment) {
  if (!std::has_single_bit(alignment)) {
    return fail(Code::invalid_argument,
                fmt::format("alignment {}: a power of two is needed", alignment));
  }
  const std::uint64_t largest = largest_free_bytes();
  const auto exhausted = [&] {
    return fail(Code::exhausted, fmt::format("{} bytes: {} are free, {} of them in one piece",
                                             bytes, free_bytes_, largest));
  };
  if (bytes > largest) return exhausted();
  const std::uint64_t needed = rounded_up(bytes == 0 ? 1 : bytes, kGranule);
  // The least piece that has room for it; a coarse alignment may rule out the first ones.
  for (auto fit = by_size_.lower_bound({needed, 0}); fit != by_size_.end(); ++fit) {
    const auto [piece_bytes, piece_offset] = *fit;
    const std::uint64_t padding = (alignment - piece_offset % alignment) % alignment;
    if (padding > piece_bytes || piece_bytes - padding < needed) continue;
    const std::uint64_t offset = piece_offset + padding;
    drop_piece(pieces_.find(piece_offset));
    if (padding != 0) add_piece(piece_offset, padding);
    const std::uint64_t rest = piece_bytes - padding - needed;
    if (rest != 0) add_piece(offset + needed, rest);
    taken_.emplace(offset, needed);
    return offset;
  }
  return exhausted();
}

void RegionAllocator::free(std::uint64_t offset) {
  const auto taken = taken_.find(offset);
  STRATA_CHECK(taken != taken_.end());
  std::uint64_t start = offset;
  std::uint64_t bytes = taken->second;
  taken_.erase(taken);
  auto next = pieces_.lower_bound(offset);
  if (next != pieces_.end() && next->first == start + bytes) {
    bytes += next->second;
    next = drop_piece(next);
  }
  if (next != pieces_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == start) {
      start = previous->first;
      bytes += previous->second;
      drop_piece(previous);
    }
  }
  add_piece(start, bytes);
}

std::uint64_t RegionAllocator::largest_free_bytes() const {
  return by_size_.empty() ? 0 : by_size_.rbegin()->first;
}

}  // namespace strata::inline v0_1::interop
