// Spans: who owns which, and how one that has room is found again.
//
// A thread owns the spans that it allocates from, up to kMaxKeptUnits for each class: what it frees
// into these costs no locked instruction. Of what others free into them they leave news. The oldest
// full spans beyond that are given up, so that whoever frees into one can say that it has room;
// nobody has to be told, and nothing is lost with a dead owner.
#include <algorithm>
#include <bit>

#include "heap/heap_core_inline.h"

namespace strata::inline v0_1 {

using namespace heap_layout;

namespace {

constexpr std::size_t kMaxKeptUnits = 64;
constexpr std::uint64_t kMaxCachedBytes = KiB(16);  // of free blocks of one class

// The current span becomes one of those that are kept.
void stop_using(ClassCache& mine) {
  if (mine.words == nullptr) return;
  mine.kept.push_back(std::exchange(mine.unit, 0));
  mine.words = nullptr;
  mine.word_count = 0;
}

}  // namespace

bool HeapCore::is_empty(const Span& span) {
  for (std::uint32_t i = 0; i < span.word_count; ++i) {
    if (span.words[i].state(std::memory_order_seq_cst) != no_such_blocks(span.blocks, i)) {
      return false;
    }
  }
  return true;
}

std::uint32_t HeapCore::count_free(const Span& span) {
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < span.word_count; ++i) {
    const std::uint64_t now = span.words[i].state(std::memory_order_seq_cst);
    count += static_cast<std::uint32_t>(std::popcount(~(now | now >> 1) & kAllocatedBits));
  }
  return count;
}

// Those of them that no transaction of this thread has reserved.
std::uint32_t HeapCore::count_free(const ThreadCache& cache, const Span& span) {
  const auto reserved = std::count_if(cache.reserved.begin(), cache.reserved.end(),
                                      [&](std::uint64_t offset) { return span.holds(offset); });
  const std::uint32_t free = count_free(span);
  return free - std::min(free, static_cast<std::uint32_t>(reserved));
}

void HeapCore::hint(std::uint64_t unit, unsigned size_class) {
  if (size_class >= kClassCount) return;
  const std::uint64_t index = unit & region_mask_;
  Word& row = region_word(unit, region_.row_at(size_class), index / 64);
  const std::uint64_t bit = std::uint64_t{1} << index % 64;
  // Most frees find the hint set: look before writing.
  if ((row.load(std::memory_order_relaxed) & bit) == 0) row.fetch_or(bit);
  Word& mask = region_word(unit, region_.class_mask_at(), size_class / 64);
  const std::uint64_t class_bit = std::uint64_t{1} << size_class % 64;
  if ((mask.load(std::memory_order_relaxed) & class_bit) == 0) mask.fetch_or(class_bit);
}

void HeapCore::unhint(std::uint64_t unit, unsigned size_class) {
  if (size_class >= kClassCount) return;
  const std::uint64_t index = unit & region_mask_;
  Word& row = region_word(unit, region_.row_at(size_class), index / 64);
  const std::uint64_t bit = std::uint64_t{1} << index % 64;
  if ((row.load(std::memory_order_relaxed) & bit) != 0) row.fetch_and(~bit);
}

bool HeapCore::has_other_hint(std::uint64_t unit, unsigned size_class) const {
  const std::uint64_t index = unit & region_mask_;
  for (std::uint64_t i = 0; i < region_.unit_words(); ++i) {
    std::uint64_t row =
        region_word(unit, region_.row_at(size_class), i).load(std::memory_order_relaxed);
    if (i == index / 64) row &= ~(std::uint64_t{1} << index % 64);
    if (row != 0) return true;
  }
  return false;
}

// Makes a span that nobody owns findable, or gives its units back. A caller without a slot (0)
// cannot own it meanwhile, and leaves that to others.
void HeapCore::take_back_unowned(const Span& span, std::uint32_t slot_number) {
  const std::uint32_t free = count_free(span);
  if (free == span.blocks && slot_number != 0 &&
      (span.size_class == kLargeClass || has_other_hint(span.unit, span.size_class))) {
    if (retire_if_empty(span.unit, slot_number)) return;
  }
  if (free != 0 && free * 16 >= span.blocks) hint(span.unit, span.size_class);
}

void HeapCore::disown(ThreadCache& cache, std::uint64_t unit) {
  disown_for(cache.slot_number, unit, cache.slot_number);
}

// Takes the span at `unit` from slot `owner`, if it has it; `slot_number` is the caller's own.
void HeapCore::disown_for(std::uint32_t owner, std::uint64_t unit, std::uint32_t slot_number) {
  Span span;
  if (!span_at(unit, span)) return;
  UnitState state = UnitState::of(span.state);
  if (state.owner != owner) return;
  state.owner = 0;
  state.sequence = (state.sequence + 1) & 0xFFFF;
  std::uint64_t expected = span.state;
  if (!descriptor(unit).state.compare_exchange_strong(expected, state.word())) return;
  STRATA_STEP("span disowned");
  flush(&descriptor(unit).state, sizeof(Word));
  take_back_unowned(span, slot_number);
}

void HeapCore::use_span(ThreadCache& cache, const Span& span) {
  ClassCache& mine = cache.classes[span.size_class];
  mine.words = span.words;
  mine.word = 0;
  mine.word_count = span.word_count;
  mine.first_block = span.first_block;
  mine.block_bytes = span.block_bytes;
  mine.unit = span.unit;
  mine.capacity = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(kMaxCachedBytes / span.block_bytes, ClassCache::kMaxBlocks));
  descriptor(span.unit).is_listed.store(0, std::memory_order_relaxed);
}

// Allocates from a span that was kept, if it has that many free blocks.
bool HeapCore::use_kept(ThreadCache& cache, std::uint64_t unit, unsigned size_class,
                        std::uint32_t min_free) {
  Span span;
  // It may have been given back since it was listed, and taken again for another class.
  if (!span_at(unit, span) || UnitState::of(span.state).owner != cache.slot_number ||
      span.size_class != size_class) {
    return false;
  }
  std::vector<std::uint64_t>& kept = cache.classes[size_class].kept;
  const auto found = std::find(kept.begin(), kept.end(), unit);
  descriptor(unit).is_listed.store(0, std::memory_order_relaxed);
  descriptor(unit).has_news.store(0);
  if (found == kept.end() || count_free(cache, span) < min_free) return false;
  kept.erase(found);
  use_span(cache, span);
  return true;
}

bool HeapCore::use_kept_with_room(ThreadCache& cache, unsigned size_class) {
  ClassCache& mine = cache.classes[size_class];
  while (!mine.room.empty()) {
    const std::uint64_t unit = mine.room.back();
    mine.room.pop_back();
    if (use_kept(cache, unit, size_class, 1)) return true;
  }
  for (std::size_t i = 0; i < mine.kept.size(); ++i) {
    if (descriptor(mine.kept[i]).has_news.load(std::memory_order_relaxed) == 0) continue;
    if (use_kept(cache, mine.kept[i], size_class, kClasses[size_class].blocks / 16 + 1)) {
      return true;
    }
  }
  return false;
}

// For when memory is short.
bool HeapCore::use_any_kept(ThreadCache& cache, unsigned size_class) {
  const std::vector<std::uint64_t> kept = cache.classes[size_class].kept;
  return std::any_of(kept.begin(), kept.end(),
                     [&](std::uint64_t unit) { return use_kept(cache, unit, size_class, 1); });
}

// The span that a thread allocates from has no room: it is kept, and the oldest perhaps given up.
void HeapCore::keep_current(ThreadCache& cache, unsigned size_class) {
  ClassCache& mine = cache.classes[size_class];
  stop_using(mine);
  if (mine.kept.size() * kClasses[size_class].units <= kMaxKeptUnits) return;
  for (auto unit = mine.kept.begin(); unit != mine.kept.end(); ++unit) {
    Span span;
    if (span_at(*unit, span) &&
        std::any_of(cache.reserved.begin(), cache.reserved.end(),
                    [&](std::uint64_t offset) { return span.holds(offset); })) {
      continue;
    }
    const std::uint64_t oldest = *unit;
    mine.kept.erase(unit);
    disown(cache, oldest);
    return;
  }
}

void HeapCore::list_room(ThreadCache& cache, const Span& span) {
  descriptor(span.unit).is_listed.store(1, std::memory_order_relaxed);
  cache.classes[span.size_class].room.push_back(span.unit);
}

// Empty and ours: nobody can put anything into it, and nobody has anything in it to free.
bool HeapCore::give_back_empty(ThreadCache& cache, const Span& span) {
  ClassCache& mine = cache.classes[span.size_class];
  if (count_free(cache, span) != span.blocks || std::erase(mine.kept, span.unit) == 0) return false;
  std::erase(mine.room, span.unit);
  const auto end =
      std::remove_if(mine.blocks.begin(), mine.blocks.begin() + mine.count,
                     [&](const FreeBlock& block) { return span.holds(block.offset()); });
  mine.count = static_cast<std::uint32_t>(end - mine.blocks.begin());
  STRATA_STEP("empty span given back");
  if (release_units(span.unit)) return true;
  mine.kept.push_back(span.unit);
  return false;
}

// For when memory is short: the spans from which nothing is allocated, of any class.
std::uint64_t HeapCore::give_back_all_empty(ThreadCache& cache) {
  std::uint64_t units = 0;
  for (unsigned size_class = 0; size_class < kClassCount; ++size_class) {
    ClassCache& mine = cache.classes[size_class];
    stop_using(mine);
    const std::vector<std::uint64_t> kept = mine.kept;
    for (const std::uint64_t unit : kept) {
      Span span;
      if (span_at(unit, span) && span.size_class == size_class && is_empty(span) &&
          give_back_empty(cache, span)) {
        units += kClasses[size_class].units;
      }
    }
  }
  return units;
}

bool HeapCore::claim(ThreadCache& cache, std::uint64_t unit, unsigned size_class,
                     std::uint32_t min_free) {
  Span span;
  if (!span_at(unit, span) || span.size_class != size_class) return false;
  UnitState state = UnitState::of(span.state);
  if (state.owner != 0 || count_free(span) < min_free) return false;
  state.owner = cache.slot_number;
  state.sequence = (state.sequence + 1) & 0xFFFF;
  std::uint64_t expected = span.state;
  if (!descriptor(unit).state.compare_exchange_strong(expected, state.word())) return false;
  STRATA_STEP("span claimed");
  flush(&descriptor(unit).state, sizeof(Word));
  use_span(cache, span);
  return true;
}

bool HeapCore::claim_hinted(ThreadCache& cache, unsigned size_class) {
  const int node = preferred_node();
  if (node >= 0 && claim_hinted_on(cache, size_class, node)) return true;
  return claim_hinted_on(cache, size_class, -1);
}

// `node` -1: any.
bool HeapCore::claim_hinted_on(ThreadCache& cache, unsigned size_class, int node) {
  const std::uint64_t class_bit = std::uint64_t{1} << size_class % 64;
  const std::uint64_t limit = unit_limit();
  for (std::uint64_t first = 0; first < limit; first += region_.units) {
    Word& mask = region_word(first, region_.class_mask_at(), size_class / 64);
    if ((mask.load(std::memory_order_relaxed) & class_bit) == 0) continue;
    bool is_row_empty = true;
    for (std::uint64_t i = 0; i < region_.unit_words(); ++i) {
      Word& row = region_word(first, region_.row_at(size_class), i);
      std::uint64_t bits = row.load(std::memory_order_relaxed);
      for (; bits != 0; bits &= bits - 1) {
        const std::uint64_t unit = first + i * 64 + static_cast<unsigned>(std::countr_zero(bits));
        if (unit >= limit) break;
        if (node >= 0 && node_of_unit(unit) != node) {
          is_row_empty = false;
          continue;
        }
        // The hint goes first: were the span claimed first, its next free might find the hint set,
        // and then lose it.
        if ((row.fetch_and(~(bits & -bits)) & bits & -bits) == 0) continue;
        STRATA_STEP("hint taken");
        if (claim(cache, unit, size_class, 1)) return true;
      }
    }
    if (is_row_empty && node < 0) {
      mask.fetch_and(~class_bit);
      for (std::uint64_t i = 0; i < region_.unit_words(); ++i) {
        if (region_word(first, region_.row_at(size_class), i).load() != 0) {
          mask.fetch_or(class_bit);
          break;
        }
      }
    }
  }
  return false;
}

// Looks at every span: for when hints find nothing and memory is short.
bool HeapCore::claim_any(ThreadCache& cache, unsigned size_class, std::uint32_t min_free) {
  const std::uint64_t limit = unit_limit();
  for (std::uint64_t unit = 0; unit < limit; ++unit) {
    if (claim(cache, unit, size_class, min_free)) {
      unhint(unit, size_class);
      return true;
    }
  }
  return false;
}

Result<void> HeapCore::refill(ThreadCache& cache, unsigned size_class) {
  ClassCache& mine = cache.classes[size_class];
  Span span;
  if (mine.words != nullptr && span_at(mine.unit, span)) {
    descriptor(mine.unit).has_news.store(0);
    // Others may have freed behind our back. Less than a sixteenth is not worth staying for.
    if (count_free(cache, span) * 16 >= std::max(span.blocks, 16u)) {
      mine.word = 0;
      return {};
    }
    keep_current(cache, size_class);
  }
  if (use_kept_with_room(cache, size_class)) return {};
  if (claim_hinted(cache, size_class)) return {};
  const std::uint32_t units = kClasses[size_class].units;
  if (auto unit = try_take_units(cache, size_class, units, Taking::span, nullptr); !unit) {
    return unexpected(unit.error());
  } else if (*unit != 0) {
    return {};
  }
  (void)recover_now(&cache, !cache.holds_names_lock);
  if (claim_hinted(cache, size_class)) return {};
  if (use_any_kept(cache, size_class)) return {};
  // While the segment can grow, a few scattered blocks are not worth the walk.
  const bool can_grow = memory_->bytes() < memory_->max_bytes();
  const std::uint32_t min_free = can_grow ? kClasses[size_class].blocks / 16 + 1 : 1;
  if (claim_any(cache, size_class, min_free)) return {};
  STRATA_TRY(take_units(cache, size_class, units, Taking::span, nullptr));
  return {};
}

bool HeapCore::retire_if_empty(std::uint64_t unit, std::uint32_t slot_number) {
  Span span;
  if (!span_at(unit, span) || !is_empty(span)) return false;
  UnitState state = UnitState::of(span.state);
  if (state.owner != 0 || slot_number == 0) return false;
  state.owner = slot_number;
  state.sequence = (state.sequence + 1) & 0xFFFF;
  std::uint64_t expected = span.state;
  if (!descriptor(unit).state.compare_exchange_strong(expected, state.word())) return false;
  STRATA_STEP("empty span claimed");
  span.state = state.word();
  unhint(unit, span.size_class);
  // Empty and ours: nobody can put anything into it, and nobody has anything in it to free.
  if (is_empty(span) && release_units(unit)) return true;
  state.owner = 0;
  state.sequence = (state.sequence + 1) & 0xFFFF;
  descriptor(unit).state.store(state.word());
  hint(unit, span.size_class);
  return false;
}

std::uint64_t HeapCore::retire_all_empty(std::uint32_t slot_number) {
  std::uint64_t units = 0;
  const std::uint64_t limit = unit_limit();
  for (std::uint64_t unit = 0; unit < limit; ++unit) {
    const UnitState state = UnitState::of(descriptor(unit).state.load(std::memory_order_relaxed));
    if (state.kind == UnitKind::head && state.owner == 0 && retire_if_empty(unit, slot_number)) {
      units += state.units;
    }
  }
  return units;
}

}  // namespace strata::inline v0_1
