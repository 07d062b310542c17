// Units: runs of 64 KiB, taken and given back under units_lock, and the growth of the segment.
//
// Descriptors are written in an order that leaves something to tell at every instruction: a run's
// interior first and its head last; to give back, the head first. So an interior unit that no head
// reaches is free, and whoever gets the lock from a dead owner makes it so, or gets it first after
// a power failure, which takes hints and heads back to different moments.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "heap/heap_core_inline.h"
#include "strata/os/cpu.h"

namespace strata::inline v0_1 {

using namespace heap_layout;

namespace {

constexpr std::uint64_t kLockTimeoutMs = 10'000;
constexpr std::uint64_t kMinGrowthBytes = MiB(1);

}  // namespace

std::uint64_t HeapCore::refresh_mapped() const {
  const std::lock_guard lock(memory_mutex_);
  if (const auto bytes = memory_->refresh()) {
    mapped_bytes_.store(std::min(*bytes, max_units_ * kUnitBytes), std::memory_order_release);
  }
  return mapped_bytes_.load(std::memory_order_relaxed);
}

std::byte* HeapCore::at_after_growth(std::uint64_t offset_bytes, std::uint64_t bytes) const {
  if (offset_bytes >= memory_->max_bytes()) return nullptr;
  const std::uint64_t limit = refresh_mapped();
  if (offset_bytes > limit || bytes > limit - offset_bytes) return nullptr;
  return base_ + offset_bytes;
}

int HeapCore::node_of_unit(std::uint64_t unit) const {
  int node = -1;
  for (const NodeRange& range : ranges_) {
    if (range.first_unit > unit) break;
    node = range.node;
  }
  return node;
}

// -1 where all memory is alike.
int HeapCore::preferred_node() const { return ranges_.size() < 2 ? -1 : current_node(); }

Result<void> HeapCore::lock_units() {
  RobustMutex& lock = header().units_lock;
  STRATA_ASSIGN(const Acquired how, lock.lock_for_ms(*sync_, kLockTimeoutMs));
  STRATA_STEP("units locked");
  Word& repaired = header().units_generation;
  if (how == Acquired::owner_died || repaired.load() != repaired_generation()) {
    repair_units();
    repaired.store(repaired_generation());
    STRATA_STEP("units repaired");
  }
  if (how == Acquired::owner_died) STRATA_TRY(lock.mark_repaired(*sync_));
  return {};
}

void HeapCore::unlock_units() {
  STRATA_STEP("units to be unlocked");
  (void)header().units_lock.unlock(*sync_);
}

// With the lock held: interior units without a head become free, and the hint is made anew.
void HeapCore::repair_units() {
  const std::uint64_t limit = unit_limit();
  std::uint64_t reach = 0;  // first unit after the last head's span
  for (std::uint64_t unit = 0; unit < limit; ++unit) {
    Word& word = descriptor(unit).state;
    UnitState state = UnitState::of(word.load(std::memory_order_acquire));
    if (state.kind == UnitKind::head) reach = unit + state.units;
    if (state.kind == UnitKind::interior && unit >= reach) {
      STRATA_STEP("repair: unit without a head");
      state = {.kind = UnitKind::free, .sequence = state.sequence};
      word.store(state.word(), std::memory_order_release);
      flush(&word, sizeof(Word));
    }
    mark_units(unit, 1, state.kind != UnitKind::free);
  }
  drain();
}

void HeapCore::mark_units(std::uint64_t unit, std::uint64_t count, bool used) {
  for (std::uint64_t i = unit; i < unit + count; ++i) {
    const std::uint64_t index = i & region_mask_;
    Word& word = region_word(i, region_.used_units_at(), index / 64);
    const std::uint64_t bit = std::uint64_t{1} << index % 64;
    const std::uint64_t now = word.load(std::memory_order_relaxed);
    const std::uint64_t wanted = used ? now | bit : now & ~bit;
    if (wanted != now) word.store(wanted, std::memory_order_relaxed);
  }
}

// The first `units` free units in a row within one region, or 0 (which holds the header).
std::uint64_t HeapCore::find_run_in(std::uint64_t from, std::uint64_t to,
                                    std::uint64_t units) const {
  std::uint64_t run = 0;
  for (std::uint64_t unit = from; unit < to; ++unit) {
    const std::uint64_t index = unit & region_mask_;
    if (index == 0) run = 0;
    const std::uint64_t used =
        region_word(unit, region_.used_units_at(), index / 64).load(std::memory_order_relaxed) >>
        index % 64;
    if (used == ~std::uint64_t{0} >> index % 64) {  // the rest of this word is taken
      run = 0;
      unit += std::min<std::uint64_t>(64 - index % 64, region_.units - index) - 1;
    } else if ((used & 1) != 0) {
      run = 0;
    } else if (++run == units) {
      return unit + 1 - units;
    }
  }
  return 0;
}

std::uint64_t HeapCore::find_run(std::uint64_t units, int node) const {
  const std::uint64_t limit = unit_limit();
  if (node >= 0) {
    for (std::size_t i = 0; i < ranges_.size(); ++i) {
      if (ranges_[i].node != node) continue;
      const std::uint64_t end = i + 1 < ranges_.size() ? ranges_[i + 1].first_unit : limit;
      const std::uint64_t run = find_run_in(ranges_[i].first_unit, std::min(end, limit), units);
      if (run != 0) return run;
    }
  }
  const std::uint64_t from = search_from_.load(std::memory_order_relaxed);
  if (from != 0) {
    if (const std::uint64_t run = find_run_in(from, limit, units)) return run;
  }
  return find_run_in(0, limit, units);
}

// With the lock held. 0: no run.
std::uint64_t HeapCore::find_free_run(std::uint64_t units) const {
  while (const std::uint64_t unit = find_run(units, preferred_node())) {
    std::uint64_t i = 0;
    while (i < units &&
           UnitState::of(descriptor(unit + i).state.load(std::memory_order_acquire)).kind ==
               UnitKind::free) {
      ++i;
    }
    if (i == units) return unit;
    const_cast<HeapCore*>(this)->mark_units(unit + i, 1, true);  // the hint was wrong
  }
  return 0;
}

// A new span of `units`, or 0 where there is no such run.
Result<std::uint64_t> HeapCore::try_take_units(ThreadCache& cache, unsigned size_class,
                                               std::uint64_t units, Taking taking,
                                               Word* destination) {
  STRATA_TRY(lock_units());
  const std::uint64_t unit = find_free_run(units);
  if (unit == 0) {
    unlock_units();
    return 0;
  }
  for (std::uint64_t i = units - 1; i > 0; --i) {
    Word& word = descriptor(unit + i).state;
    const UnitState before = UnitState::of(word.load(std::memory_order_relaxed));
    word.store(UnitState{.kind = UnitKind::interior,
                         .size_class = 0,
                         .units = static_cast<std::uint32_t>(i),
                         .owner = 0,
                         .sequence = before.sequence}
                   .word(),
               std::memory_order_release);
    flush(&word, sizeof(Word));
    STRATA_STEP("take: interior unit");
  }
  Descriptor& head = descriptor(unit);
  const bool is_small = size_class != kLargeClass;
  BlockWord* words = head.words.data();
  if (is_small && kClasses[size_class].is_inline == 0) {
    words = reinterpret_cast<BlockWord*>(base_ + unit * kUnitBytes);
  }
  const std::uint32_t blocks = is_small ? kClasses[size_class].blocks : 1;
  const std::uint32_t word_count = is_small ? kClasses[size_class].words : 1;
  for (std::uint32_t i = 0; i < word_count; ++i) {
    words[i].owners.store(0, std::memory_order_relaxed);
    words[i].others.store(no_such_blocks(blocks, i), std::memory_order_relaxed);
  }
  // A large block is allocated by the same store that makes its span.
  if (taking == Taking::large) words[0].owners.store(1, std::memory_order_relaxed);
  head.has_news.store(0, std::memory_order_relaxed);
  head.is_listed.store(0, std::memory_order_relaxed);
  flush(words, word_count * sizeof(BlockWord));
  if (destination != nullptr) {
    begin_intent(*cache.slot, unit * kUnitBytes, SlotIntent::allocate, *destination);
  }
  drain();
  STRATA_STEP("take: before the head");
  const UnitState before = UnitState::of(head.state.load(std::memory_order_relaxed));
  // Owned until its intent has ended: were it free for all before, others might free it, reuse its
  // units, and lose what stands there then to the recovery of this intent.
  const bool is_owned = taking != Taking::large || destination != nullptr;
  head.state.store(UnitState{.kind = UnitKind::head,
                             .size_class = size_class,
                             .units = static_cast<std::uint32_t>(units),
                             .owner = is_owned ? cache.slot_number : 0,
                             .sequence = (before.sequence + 1) & 0xFFFF}
                       .word());
  flush(&head, sizeof(Descriptor));
  drain();
  STRATA_STEP("take: head written");
  mark_units(unit, units, true);
  if (units == 1) search_from_.store(unit + 1, std::memory_order_relaxed);
  unlock_units();
  Span span;
  if (taking == Taking::span && span_at(unit, span)) use_span(cache, span);
  return unit;
}

// The same, and if need be with what the dead held, what is empty, and what the segment can grow.
Result<std::uint64_t> HeapCore::take_units(ThreadCache& cache, unsigned size_class,
                                           std::uint64_t units, Taking taking, Word* destination) {
  const auto try_once = [&] {
    return try_take_units(cache, size_class, units, taking, destination);
  };
  auto unit = try_once();
  if (!unit || *unit != 0) return unit;
  (void)recover_now(&cache, !cache.holds_names_lock);
  (void)give_back_all_empty(cache);
  (void)retire_all_empty(cache.slot_number);
  unit = try_once();
  while (unit && *unit == 0) {
    STRATA_TRY(grow_for(units));
    unit = try_once();
  }
  return unit;
}

Result<void> HeapCore::release_units(std::uint64_t unit) {
  STRATA_TRY(lock_units());
  const UnitState state = UnitState::of(descriptor(unit).state.load(std::memory_order_acquire));
  STRATA_STEP("give back: before the head");
  for (std::uint64_t i = 0; i < state.units; ++i) {
    Word& word = descriptor(unit + i).state;
    const UnitState before = UnitState::of(word.load(std::memory_order_relaxed));
    word.store(UnitState{.kind = UnitKind::free, .sequence = before.sequence}.word());
    flush(&word, sizeof(Word));
    if (i == 0) drain();
    STRATA_STEP("give back: unit freed");
  }
  mark_units(unit, state.units, false);
  if (unit < search_from_.load(std::memory_order_relaxed)) {
    search_from_.store(unit, std::memory_order_relaxed);
  }
  unlock_units();
  return {};
}

// With the lock held: units that the payload has gained become usable.
void HeapCore::add_units(std::uint64_t payload_bytes) {
  std::uint64_t limit = std::min(payload_bytes >> kUnitShift, max_units_);
  const std::uint64_t old_limit = header().unit_limit.load(std::memory_order_relaxed);
  const std::uint64_t meta = region_.meta_units();
  for (std::uint64_t first = (old_limit + region_mask_) & ~region_mask_; first < limit;
       first += region_.units) {
    // A last region too short for its tables and one span has to wait for the next growth.
    if (limit - first < meta + 1) {
      limit = first;
      break;
    }
    for (std::uint64_t i = 0; i < meta; ++i) {
      descriptor(first + i).state.store(UnitState{.kind = UnitKind::meta}.word());
      flush(&descriptor(first + i).state, sizeof(Word));
    }
    mark_units(first, meta, true);
    STRATA_STEP("grow: tables of a region written");
  }
  drain();
  if (limit > old_limit) {
    header().unit_limit.store(limit, std::memory_order_release);
    flush(&header().unit_limit, sizeof(Word));
    drain();
  }
}

Result<void> HeapCore::grow_for(std::uint64_t units) {
  STRATA_TRY(lock_units());
  const auto finish = [&](Result<void> result) {
    unlock_units();
    return result;
  };
  // Somebody else may have been first.
  add_units(refresh_mapped());
  if (find_free_run(units) != 0) return finish({});
  const std::uint64_t now = memory_->bytes(), most = max_units_ * kUnitBytes;
  if ((now >> kUnitShift) >= max_units_) {
    return finish(fail(Code::exhausted,
                       fmt::format("heap: no {} free in a row, and its segment cannot grow beyond "
                                   "{}",
                                   format_bytes(units * kUnitBytes), format_bytes(most))));
  }
  // At least an eighth, so that n growths cost what one would, and the run with its tables.
  const std::uint64_t wanted =
      std::max({now / 8, kMinGrowthBytes, (units + region_.meta_units()) * kUnitBytes});
  std::uint64_t target = std::min(align_up(now + wanted, kUnitBytes), most);
  STRATA_STEP("grow: before");
  {
    const std::lock_guard lock(memory_mutex_);
    auto grown = memory_->grow(target, Deadline::after_ms(kLockTimeoutMs));
    if (!grown) return finish(unexpected(grown.error().in("heap is full")));
    mapped_bytes_.store(target, std::memory_order_release);
  }
  STRATA_STEP("grow: segment grown");
  add_units(target);
  return finish({});
}

}  // namespace strata::inline v0_1
