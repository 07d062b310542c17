// Blocks: allocate, free, and the changes of state that transactions ask for.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "heap/heap_core_inline.h"

namespace strata::inline v0_1 {

using namespace heap_layout;

namespace {

constexpr std::uint64_t kPair = 3;  // both bits of a block
constexpr unsigned kFree = 0b00, kAllocated = 0b01;
// Of the state of a unit.
constexpr std::uint64_t kOwnerAndKind = std::uint64_t{0xFFFF} << 32 | 15;

unsigned bits_of(std::uint64_t word, unsigned shift) {
  return static_cast<unsigned>(word >> shift & kPair);
}

// BlockState writes (allocated, pending); the word has allocated in the lower bit.
constexpr unsigned to_bits(BlockState state) {
  switch (state) {
    case BlockState::free: return 0b00;
    case BlockState::tentative: return 0b10;
    case BlockState::allocated: return 0b01;
    case BlockState::freeing: return 0b11;
  }
  return 0;
}

constexpr BlockState to_state(unsigned bits) {
  constexpr BlockState kStates[] = {BlockState::free, BlockState::allocated, BlockState::tentative,
                                    BlockState::freeing};
  return kStates[bits & 3];
}

}  // namespace

Result<unsigned> HeapCore::pick_class(std::uint64_t bytes, std::uint64_t align) {
  if (!std::has_single_bit(align) || align > kMaxAlignBytes) {
    return fail(Code::invalid_argument,
                fmt::format("allocate: alignment {} is not a power of two up to {}", align,
                            kMaxAlignBytes));
  }
  if (bytes > kMaxClassBytes) return kLargeClass;
  unsigned picked = class_of(bytes);
  // Blocks stand at multiples of their size from the first, which stands at a multiple of 64 or,
  // with an inline bitmap, at the start of the span.
  while (align > 16 &&
         (kClasses[picked].block_bytes % align != 0 || kClasses[picked].first_block % align != 0)) {
    ++picked;
  }
  return picked;
}

// Free blocks of one word of the current span become the next ones to allocate. Only where there
// are no next ones: so none of them is there already.
bool HeapCore::pick_from_current(ThreadCache& cache, unsigned size_class) {
  ClassCache& mine = cache.classes[size_class];
  for (; mine.word < mine.word_count; ++mine.word) {
    BlockWord& word = mine.words[mine.word];
    const std::uint64_t now = word.state(std::memory_order_relaxed);
    std::uint64_t free = ~(now | now >> 1) & kAllocatedBits;
    for (; free != 0 && mine.count < std::max(mine.capacity, 1u); free &= free - 1) {
      const auto shift = static_cast<unsigned>(std::countr_zero(free));
      const std::uint64_t offset =
          mine.first_block +
          (std::uint64_t{mine.word} * kBlocksPerWord + shift / 2) * mine.block_bytes;
      if (std::find(cache.reserved.begin(), cache.reserved.end(), offset) == cache.reserved.end()) {
        mine.blocks[mine.count++] = FreeBlock::of(&word, offset, shift);
      }
    }
    // The last is handed out first.
    std::reverse(mine.blocks.begin(), mine.blocks.begin() + mine.count);
    if (mine.count != 0) return true;
  }
  return false;
}

Result<FreeBlock> HeapCore::pick(ThreadCache& cache, unsigned size_class) {
  ClassCache& mine = cache.classes[size_class];
  while (true) {
    while (mine.count == 0 && !pick_from_current(cache, size_class))
      STRATA_TRY(refill(cache, size_class));
    const FreeBlock block = mine.blocks[--mine.count];
    if ((block.word->state() >> block.shift() & kPair) == kFree) return block;
  }
}

Result<Offset<std::byte>> HeapCore::allocate(std::uint64_t bytes, std::uint64_t align) {
  ThreadCache* const mine = quick_cache();
  if (mine != nullptr && align == kMinAlignBytes && bytes <= kMaxClassBytes) [[likely]] {
    ClassCache& of_class = mine->classes[class_of(bytes)];
    if (of_class.count != 0) [[likely]] {
      // By reference: a copy as one vector would wait for the two stores that free made.
      const FreeBlock& block = of_class.blocks[--of_class.count];
      STRATA_STEP("allocate: block chosen");
      if (take(block)) [[likely]] {
        STRATA_STEP("allocate: block taken");
        if (!is_volatile_) [[unlikely]]
          return flushed(block);
        return Offset<std::byte>{block.offset()};
      }
    }
  }
  return allocate_slowly(bytes, align);
}

// Apart, as are free_slowly and freed_own, so that the common path saves no registers.
[[gnu::noinline]] Result<Offset<std::byte>> HeapCore::flushed(const FreeBlock& block) const {
  flush(block.word, sizeof(BlockWord));
  return Offset<std::byte>{block.offset()};
}

[[gnu::noinline]] Result<Offset<std::byte>> HeapCore::allocate_slowly(std::uint64_t bytes,
                                                                      std::uint64_t align) {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  STRATA_ASSIGN(const unsigned size_class, pick_class(bytes, align));
  if (size_class == kLargeClass) {
    STRATA_ASSIGN(const std::uint64_t large, take_large(*mine, bytes, Taking::large, nullptr));
    return Offset<std::byte>{large};
  }
  while (true) {
    STRATA_ASSIGN(const FreeBlock block, pick(*mine, size_class));
    STRATA_STEP("allocate: block chosen slowly");
    if (!take(block)) continue;
    STRATA_STEP("allocate: block taken slowly");
    return flushed(block);
  }
}

Result<std::uint64_t> HeapCore::take_large(ThreadCache& cache, std::uint64_t bytes, Taking taking,
                                           Word* destination) {
  if (bytes > region_.bytes() - region_.meta_units() * kUnitBytes) {
    return fail(Code::exhausted,
                fmt::format("allocate {} bytes: an object of this heap takes at most {}", bytes,
                            region_.bytes() - region_.meta_units() * kUnitBytes));
  }
  const std::uint64_t units = (bytes + kUnitBytes - 1) / kUnitBytes;
  STRATA_ASSIGN(const std::uint64_t unit,
                take_units(cache, kLargeClass, units, taking, destination));
  return unit * kUnitBytes;
}

Status HeapCore::bad_offset(const char* what, std::uint64_t offset_bytes, Where where) const {
  const char* why = where == Where::outside   ? "it is outside this heap"
                    : where == Where::no_span ? "nothing was ever allocated there, or it was freed"
                                              : "no block starts there";
  return Status(Code::invalid_argument,
                fmt::format("{} offset {:#x}: {}", what, offset_bytes, why));
}

Status HeapCore::bad_state(const char* what, std::uint64_t offset_bytes, unsigned bits) const {
  const char* why = bits == 0      ? "the block is free already"
                    : bits == 0b11 ? "a transaction is freeing the block already"
                                   : "the block belongs to a transaction that has not committed";
  return Status(Code::failed_precondition,
                fmt::format("{} offset {:#x}: {}", what, offset_bytes, why));
}

// A block in the first unit of a span of this thread: checks that it is allocated, and frees it by
// one store. What the descriptor says of the owner still holds then, as nobody but the owner gives
// its spans away. Whatever else it says, the word that is written lies inside the heap.
Result<void> HeapCore::free(std::uint64_t offset_bytes) {
  ThreadCache* const mine = quick_cache();
  const std::uint64_t unit = offset_bytes >> kUnitShift;
  if (mine == nullptr || unit >= known_units_.load(std::memory_order_relaxed)) [[unlikely]]
    return free_slowly(offset_bytes);
  Descriptor& head = descriptor(unit);
  const std::uint64_t state = head.state.load(std::memory_order_acquire);
  const auto size_class = static_cast<unsigned>(state >> 4 & 0xFF);
  const std::uint64_t head_of_mine =
      std::uint64_t{mine->slot_number} << 32 | static_cast<std::uint64_t>(UnitKind::head);
  if ((state & kOwnerAndKind) != head_of_mine || size_class >= kClassCount) [[unlikely]]
    return free_slowly(offset_bytes);
  const ClassInfo& info = kClasses[size_class];
  const auto distance = static_cast<std::uint32_t>(offset_bytes % kUnitBytes) - info.first_block;
  const std::uint32_t index = block_index(info, distance);
  if (index * info.block_bytes != distance || index >= info.blocks) [[unlikely]]
    return free_slowly(offset_bytes);
  BlockWord* const words = info.is_inline != 0
                               ? head.words.data()
                               : reinterpret_cast<BlockWord*>(base_ + unit * kUnitBytes);
  BlockWord& word = words[index / kBlocksPerWord];
  const unsigned shift = index % kBlocksPerWord * 2;
  const std::uint64_t owners = word.owners.load(std::memory_order_relaxed);
  const std::uint64_t now = owners ^ word.others.load(std::memory_order_acquire);
  if (bits_of(now, shift) != kAllocated) [[unlikely]]
    return free_slowly(offset_bytes);
  STRATA_STEP("free: before");
  word.owners.store(owners ^ std::uint64_t{1} << shift, std::memory_order_release);
  STRATA_STEP("free: block freed");
  ClassCache& of_class = mine->classes[size_class];
  if (of_class.count >= of_class.capacity || !is_volatile_) [[unlikely]]
    return freed_own(*mine, offset_bytes);
  of_class.blocks[of_class.count++] = FreeBlock::of(&word, offset_bytes, shift);
  Result<void> done;  // `return {}` would zero all of it
  return done;
}

// The rest of a free for which there is no place among the next blocks, or that has to be durable.
[[gnu::noinline]] Result<void> HeapCore::freed_own(ThreadCache& cache, std::uint64_t offset) {
  BlockPlace place;
  if (locate(offset, place) != Where::found) return {};
  flush(place.word, sizeof(BlockWord));
  ClassCache& of_class = cache.classes[place.span.size_class];
  if (of_class.count < of_class.capacity) {
    of_class.blocks[of_class.count++] = FreeBlock::of(place.word, offset, place.shift);
  } else {
    after_own_free(cache, place, place.word->state());
  }
  return {};
}

// Any block: by compare-and-swap.
[[gnu::noinline]] Result<void> HeapCore::free_slowly(std::uint64_t offset_bytes) {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  BlockPlace place;
  if (const Where where = locate(offset_bytes, place); where != Where::found) {
    return unexpected(bad_offset("free", offset_bytes, where));
  }
  std::uint64_t now;
  if (!change_bits(place, kAllocated, kFree, now)) {
    return unexpected(bad_state("free", offset_bytes, bits_of(now, place.shift)));
  }
  STRATA_STEP("free: block of others freed");
  flush(place.word, sizeof(BlockWord));
  after_free(mine, place, now);
  return {};
}

Result<std::uint64_t> HeapCore::usable_bytes(std::uint64_t offset) {
  BlockPlace place;
  if (const Where where = locate(offset, place); where != Where::found) {
    return unexpected(bad_offset("size of", offset, where));
  }
  return place.span.block_bytes;
}

std::span<std::byte> HeapCore::payload() { return {base_, refresh_mapped()}; }

Result<std::uint64_t> HeapCore::reserve(std::uint64_t bytes, std::uint64_t alignment) {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  STRATA_ASSIGN(const unsigned size_class, pick_class(bytes, alignment));
  // Before the block is chosen, so that whoever finds this thread dead looks for the transaction.
  Word& count = mine->slot->reserved_blocks;
  count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  STRATA_STEP("reserve: announced");
  const auto take_back = [&] {
    count.store(count.load(std::memory_order_relaxed) - 1, std::memory_order_release);
  };
  if (size_class == kLargeClass) {
    // The run belongs to this slot, with its block free, until change() or cancel().
    auto large = take_large(*mine, bytes, Taking::large_reserved, nullptr);
    if (!large) {
      take_back();
      return large;
    }
    mine->reserved.push_back(*large);
    return large;
  }
  const auto block = pick(*mine, size_class);
  if (!block) {
    take_back();
    return unexpected(block.error());
  }
  mine->reserved.push_back(block->offset());
  return block->offset();
}

// A reserved block was taken or given back.
void HeapCore::unreserve(ThreadCache& cache, std::uint64_t offset) {
  const auto found = std::find(cache.reserved.begin(), cache.reserved.end(), offset);
  if (found == cache.reserved.end()) return;
  *found = cache.reserved.back();
  cache.reserved.pop_back();
  Word& count = cache.slot->reserved_blocks;
  count.store(count.load(std::memory_order_relaxed) - 1, std::memory_order_release);
  BlockPlace place;
  if (locate(offset, place) != Where::found) return;
  if (place.span.size_class == kLargeClass) {
    disown(cache, place.span.unit);
    return;
  }
  ClassCache& current = cache.classes[place.span.size_class];
  if (current.unit == place.span.unit) current.word = std::min(current.word, place.word_index);
}

void HeapCore::cancel(std::uint64_t offset) {
  if (auto mine = cache()) unreserve(**mine, offset);
}

Result<BlockState> HeapCore::state(std::uint64_t offset) {
  BlockPlace place;
  if (const Where where = locate(offset, place); where != Where::found) {
    return unexpected(bad_offset("state of", offset, where));
  }
  return to_state(bits_of(place.word->state(), place.shift));
}

Result<bool> HeapCore::change(std::uint64_t offset, BlockState from, BlockState to) {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  BlockPlace place;
  if (const Where where = locate(offset, place); where != Where::found) {
    return unexpected(
        Status(Code::corrupt, bad_offset("transaction names", offset, where).message()));
  }
  if (to == BlockState::freeing) STRATA_TRY(await_foreign_release(*mine, offset));
  std::uint64_t now;
  if (!change_bits(place, to_bits(from), to_bits(to), now)) return false;
  STRATA_STEP("change: after");
  if (from == BlockState::free) {
    unreserve(*mine, offset);
  } else if (to == BlockState::free) {
    after_free(mine, place, now);
  }
  return true;
}

std::span<const std::byte> HeapCore::state_bytes(std::uint64_t offset) {
  BlockPlace place;
  if (locate(offset, place) != Where::found) return {};
  return std::as_bytes(std::span(place.word, 1));
}

Result<void> HeapCore::release_leftovers() {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  for (std::uint64_t unit = 0; unit < unit_limit(); ++unit) {
    Span span;
    if (!span_at(unit, span)) continue;
    for (std::uint32_t i = 0; i < span.word_count; ++i) {
      const std::uint64_t now = span.words[i].state();
      const std::uint64_t absent = no_such_blocks(span.blocks, i);
      const std::uint64_t pending = (now & ~absent) >> 1 & kAllocatedBits;
      if (pending == 0) continue;
      span.words[i].others.fetch_xor(now & (pending * kPair));
      flush(&span.words[i], sizeof(BlockWord));
    }
    if (UnitState::of(span.state).owner == 0) take_back_unowned(span, mine->slot_number);
  }
  return {};
}

void HeapCore::on_recovery(std::function<Result<void>(std::uint32_t)> recover_transactions) {
  recover_transactions_ = std::move(recover_transactions);
}

}  // namespace strata::inline v0_1
