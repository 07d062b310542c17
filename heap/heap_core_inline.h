// The parts of HeapCore that every allocate and free runs through, in one place so that the
// compiler can melt them together.
#pragma once

#include <algorithm>
#include <bit>

#include "heap/heap_core.h"

namespace strata {

// The cache that the calling thread used last. Two words without a destructor, so that looking is
// two loads; initial-exec keeps it so in a shared library.
struct HotCache {
  std::uint64_t id;  // of the HeapCore; 0: none
  ThreadCache* cache;
};
extern constinit thread_local HotCache hot_cache [[gnu::tls_model("initial-exec")]];

// Null: ask cache(), which also says what is wrong.
inline ThreadCache* HeapCore::quick_cache() const {
  return hot_cache.id == id_ && owner_->token() != 0 ? hot_cache.cache : nullptr;
}

inline std::uint64_t HeapCore::unit_limit() const {
  const std::uint64_t claimed = header().unit_limit.load(std::memory_order_acquire);
  const std::uint64_t known =
      mapped_bytes_.load(std::memory_order_relaxed) >> heap_layout::kUnitShift;
  if (claimed <= known) [[likely]]
    return claimed;
  return std::min(claimed, refresh_mapped() >> heap_layout::kUnitShift);
}

inline bool HeapCore::span_at(std::uint64_t unit, Span& span) const {
  const std::uint64_t word = descriptor(unit).state.load(std::memory_order_acquire);
  const heap_layout::UnitState state = heap_layout::UnitState::of(word);
  if (state.kind != heap_layout::UnitKind::head) return false;
  span.unit = unit;
  span.state = word;
  span.size_class = state.size_class;
  if (state.size_class < heap_layout::kClassCount) {
    const heap_layout::ClassInfo& info = heap_layout::kClasses[state.size_class];
    if (state.units != info.units || (unit & region_mask_) + info.units > region_.units) {
      return false;
    }
    span.words = info.is_inline != 0
                     ? descriptor(unit).words.data()
                     : reinterpret_cast<Word*>(base_ + unit * heap_layout::kUnitBytes);
    span.word_count = info.words;
    span.blocks = info.blocks;
    span.block_bytes = info.block_bytes;
    span.first_block = unit * heap_layout::kUnitBytes + info.first_block;
    return true;
  }
  if (state.size_class != heap_layout::kLargeClass || state.units == 0 ||
      (unit & region_mask_) + state.units > region_.units) {
    return false;
  }
  span.words = descriptor(unit).words.data();
  span.word_count = 1;
  span.blocks = 1;
  span.block_bytes = state.units * heap_layout::kUnitBytes;
  span.first_block = unit * heap_layout::kUnitBytes;
  return true;
}

inline HeapCore::Where HeapCore::locate(std::uint64_t offset_bytes, BlockPlace& place) const {
  std::uint64_t unit = offset_bytes >> heap_layout::kUnitShift;
  if (unit >= unit_limit()) return Where::outside;
  Span& span = place.span;
  heap_layout::UnitState state =
      heap_layout::UnitState::of(descriptor(unit).state.load(std::memory_order_acquire));
  if (state.kind == heap_layout::UnitKind::interior) {
    if (state.units > unit) return Where::no_span;
    unit -= state.units;
  }
  if (!span_at(unit, span)) return Where::no_span;
  if (offset_bytes < span.first_block) return Where::misaligned;
  const std::uint64_t distance = offset_bytes - span.first_block;
  std::uint64_t index = 0;
  if (span.size_class == heap_layout::kLargeClass) {
    if (distance != 0) return Where::misaligned;
  } else {
    const heap_layout::ClassInfo& info = heap_layout::kClasses[span.size_class];
    if (distance >= std::uint64_t{info.blocks} * info.block_bytes) return Where::misaligned;
    index = heap_layout::block_index(info, distance);
    if (index * info.block_bytes != distance) return Where::misaligned;
  }
  place.word_index = static_cast<std::uint32_t>(index / heap_layout::kBlocksPerWord);
  place.word = span.words + place.word_index;
  place.shift = static_cast<unsigned>(index % heap_layout::kBlocksPerWord * 2);
  return Where::found;
}

inline bool HeapCore::peek(ThreadCache& cache, unsigned size_class, BlockPlace& place) {
  ClassCache& mine = cache.classes[size_class];
  for (; mine.word < mine.word_count; ++mine.word) {
    Word& word = mine.words[mine.word];
    const std::uint64_t now = word.load(std::memory_order_relaxed);
    std::uint64_t free = ~(now | now >> 1) & heap_layout::kAllocatedBits;
    while (free != 0) {
      const unsigned shift = static_cast<unsigned>(std::countr_zero(free));
      const std::uint64_t offset =
          mine.first_block +
          (std::uint64_t{mine.word} * heap_layout::kBlocksPerWord + shift / 2) * mine.block_bytes;
      if (mine.reserved != 0 && std::find(cache.reserved.begin(), cache.reserved.end(), offset) !=
                                    cache.reserved.end()) [[unlikely]] {
        free &= free - 1;
        continue;
      }
      place.word = &word;
      place.shift = shift;
      place.word_index = mine.word;
      place.span.unit = mine.unit;
      place.span.first_block = offset;  // of the block itself: all that a taker needs
      return true;
    }
  }
  return false;
}

// The block is free and may be another's by now: only descriptors and hints are looked at.
inline void HeapCore::after_free(ThreadCache* cache, const BlockPlace& place,
                                 std::uint64_t word_now) {
  const unsigned size_class = place.span.size_class;
  // After the bit: either this sees that nobody owns the span, or whoever gives it up sees the
  // free block. (Both are sequentially consistent.)
  const heap_layout::UnitState state =
      heap_layout::UnitState::of(descriptor(place.span.unit).state.load());
  if (cache != nullptr && state.owner == cache->slot_number) {
    if (size_class == heap_layout::kLargeClass) return;
    ClassCache& mine = cache->classes[size_class];
    // The block that was just used is still in the processor's cache: take it first.
    if (mine.unit == place.span.unit && mine.words != nullptr) mine.word = place.word_index;
    return;
  }
  if (state.owner != 0 || state.kind != heap_layout::UnitKind::head ||
      state.size_class != size_class)
    return;
  if (word_now == heap_layout::no_such_blocks(place.span.blocks, place.word_index) &&
      is_empty(place.span)) {
    if (cache != nullptr &&
        (size_class == heap_layout::kLargeClass || has_other_hint(place.span.unit, size_class))) {
      retire_if_empty(place.span.unit, cache->slot_number);
      return;
    }
  }
  const auto free_here = static_cast<unsigned>(
      std::popcount(~(word_now | word_now >> 1) & heap_layout::kAllocatedBits));
  // An eighth of a word or of a small span: with less room, taking the span is not worth it.
  if (free_here >= std::clamp(place.span.blocks / 8, 1u, 4u)) hint(place.span.unit, size_class);
}

}  // namespace strata
