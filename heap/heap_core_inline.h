// The parts of HeapCore that every allocate and free runs through, in one place so that the
// compiler can melt them together.
#pragma once

#include <algorithm>
#include <bit>

#include "heap/heap_core.h"

namespace strata::inline v0_1 {

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
  const std::uint64_t limit =
      claimed <= known ? claimed : std::min(claimed, refresh_mapped() >> heap_layout::kUnitShift);
  known_units_.store(limit, std::memory_order_relaxed);
  return limit;
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
    span.words =
        info.is_inline != 0
            ? descriptor(unit).words.data()
            : reinterpret_cast<heap_layout::BlockWord*>(base_ + unit * heap_layout::kUnitBytes);
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

// Whether a span in one word of which this is the state is worth coming back to: an eighth of a
// word or of a small span.
inline bool HeapCore::has_room(const Span& span, std::uint64_t now) {
  std::uint64_t free = ~(now | now >> 1) & heap_layout::kAllocatedBits;
  for (std::uint32_t more = std::clamp(span.blocks / 8, 1u, 4u); more > 1; --more)
    free &= free - 1;
  return free != 0;
}

// Allocates a free block of a span of this thread. Nobody else allocates there, and nobody else
// writes this word. False where the block is not free, which takes somebody's wrong free. The
// caller flushes.
inline bool HeapCore::take(const FreeBlock& block) {
  Word& word = block.word->owners;
  const std::uint64_t owners = word.load(std::memory_order_relaxed);
  const std::uint64_t now = owners ^ block.word->others.load(std::memory_order_relaxed);
  if ((now >> block.shift() & 3) != 0) [[unlikely]]
    return false;
  word.store(owners ^ std::uint64_t{1} << block.shift(), std::memory_order_release);
  return true;
}

// Moves a block from one state to another in one step, whoever owns its span; false where it is in
// a third. `now` is then the state of the whole word.
inline bool HeapCore::change_bits(const BlockPlace& place, unsigned from, unsigned to,
                                  std::uint64_t& now) {
  std::uint64_t others = place.word->others.load(std::memory_order_acquire);
  do {
    now = place.word->owners.load(std::memory_order_acquire) ^ others;
    if ((now >> place.shift & 3) != from) return false;
    STRATA_STEP("block: before its change");
  } while (!place.word->others.compare_exchange_weak(
      others, others ^ std::uint64_t{from ^ to} << place.shift));
  now ^= std::uint64_t{from ^ to} << place.shift;
  return true;
}

// A span of few blocks is often empty: one of a class is kept, so that its units are not given back
// and taken again all the time.
inline constexpr std::uint32_t kFewBlocks = 4;

// After a block of a span of this thread has become free, and found no place among the next ones.
inline void HeapCore::after_own_free(ThreadCache& cache, const BlockPlace& place,
                                     std::uint64_t now) {
  ClassCache& mine = cache.classes[place.span.size_class];
  if (mine.unit == place.span.unit) {
    mine.word = std::min(mine.word, place.word_index);
    return;
  }
  heap_layout::Descriptor& head = descriptor(place.span.unit);
  if (head.is_listed.load(std::memory_order_relaxed) == 0 && has_room(place.span, now)) {
    list_room(cache, place.span);
  }
  if (now == heap_layout::no_such_blocks(place.span.blocks, place.word_index) &&
      (mine.room.size() > 1 || place.span.blocks > kFewBlocks) && is_empty(place.span)) {
    (void)give_back_empty(cache, place.span);
  }
}

// The block is free and may be another's by now: only descriptors and hints are looked at.
inline void HeapCore::after_free(ThreadCache* cache, const BlockPlace& place, std::uint64_t now) {
  const unsigned size_class = place.span.size_class;
  heap_layout::Descriptor& head = descriptor(place.span.unit);
  // After the bit: either this sees that nobody owns the span, or whoever gives it up sees the
  // free block. (Both are sequentially consistent.)
  const heap_layout::UnitState state = heap_layout::UnitState::of(head.state.load());
  if (state.kind != heap_layout::UnitKind::head || state.size_class != size_class) return;
  if (state.owner != 0) {
    if (size_class == heap_layout::kLargeClass) return;
    if (cache != nullptr && state.owner == cache->slot_number) {
      after_own_free(*cache, place, now);
    } else if (head.has_news.load() == 0) {
      head.has_news.store(1);
    }
    return;
  }
  if (now == heap_layout::no_such_blocks(place.span.blocks, place.word_index) &&
      is_empty(place.span)) {
    if (cache != nullptr &&
        (size_class == heap_layout::kLargeClass || has_other_hint(place.span.unit, size_class))) {
      retire_if_empty(place.span.unit, cache->slot_number);
      return;
    }
  }
  if (has_room(place.span, now)) hint(place.span.unit, size_class);
}

}  // namespace strata::inline v0_1
