// Blocks: allocate, free, and the changes of state that transactions ask for.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "heap/heap_core_inline.h"

namespace strata {

using namespace heap_layout;

namespace {

constexpr std::uint64_t kPair = 3;  // both bits of a block

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

Result<BlockPlace> HeapCore::peek_or_refill(ThreadCache& cache, unsigned size_class) {
  BlockPlace place{};
  while (!peek(cache, size_class, place)) {
    STRATA_TRY(refill(cache, size_class));
  }
  return place;
}

Result<Offset<std::byte>> HeapCore::allocate(std::uint64_t bytes, std::uint64_t align) {
  ThreadCache* const mine = quick_cache();
  BlockPlace place;
  if (mine == nullptr || align != kMinAlignBytes || bytes > kMaxClassBytes ||
      !peek(*mine, class_of(bytes), place)) [[unlikely]] {
    return allocate_slowly(bytes, align);
  }
  STRATA_STEP("allocate: block chosen");
  // Nobody else allocates from a span of this slot, so the bit cannot have been set meanwhile.
  place.word->fetch_or(std::uint64_t{1} << place.shift, std::memory_order_acq_rel);
  STRATA_STEP("allocate: block taken");
  flush(place.word, sizeof(Word));
  return Offset<std::byte>{place.span.first_block};
}

Result<Offset<std::byte>> HeapCore::allocate_slowly(std::uint64_t bytes, std::uint64_t align) {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  STRATA_ASSIGN(const unsigned size_class, pick_class(bytes, align));
  if (size_class == kLargeClass) {
    STRATA_ASSIGN(const std::uint64_t large, take_large(*mine, bytes, Taking::large, nullptr));
    return Offset<std::byte>{large};
  }
  STRATA_ASSIGN(const BlockPlace place, peek_or_refill(*mine, size_class));
  STRATA_STEP("allocate: block chosen slowly");
  place.word->fetch_or(std::uint64_t{1} << place.shift, std::memory_order_acq_rel);
  STRATA_STEP("allocate: block taken slowly");
  flush(place.word, sizeof(Word));
  return Offset<std::byte>{place.span.first_block};
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

Result<void> HeapCore::free(std::uint64_t offset_bytes) {
  ThreadCache* mine = quick_cache();
  if (mine == nullptr) [[unlikely]] {
    STRATA_ASSIGN(mine, cache());
  }
  BlockPlace place;
  if (const Where where = locate(offset_bytes, place); where != Where::found) [[unlikely]] {
    return unexpected(bad_offset("free", offset_bytes, where));
  }
  std::uint64_t now = place.word->load(std::memory_order_relaxed);
  do {
    if (bits_of(now, place.shift) != to_bits(BlockState::allocated)) [[unlikely]] {
      return unexpected(bad_state("free", offset_bytes, bits_of(now, place.shift)));
    }
    STRATA_STEP("free: before");
  } while (!place.word->compare_exchange_weak(now, now & ~(kPair << place.shift)));
  STRATA_STEP("free: block freed");
  flush(place.word, sizeof(Word));
  after_free(mine, place, now & ~(kPair << place.shift));
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
  auto place = peek_or_refill(*mine, size_class);
  if (!place) {
    take_back();
    return unexpected(place.error());
  }
  mine->reserved.push_back(place->span.first_block);
  ++mine->classes[size_class].reserved;
  return place->span.first_block;
}

// A reserved block was taken or given back: its span may no longer have to be kept.
void HeapCore::unreserve(ThreadCache& cache, std::uint64_t offset) {
  const auto found = std::find(cache.reserved.begin(), cache.reserved.end(), offset);
  if (found == cache.reserved.end()) return;
  *found = cache.reserved.back();
  cache.reserved.pop_back();
  Word& count = cache.slot->reserved_blocks;
  count.store(count.load(std::memory_order_relaxed) - 1, std::memory_order_release);
  BlockPlace place;
  if (locate(offset, place) != Where::found) return;
  const std::uint64_t unit = place.span.unit;
  if (place.span.size_class == kLargeClass) {
    disown(cache, unit);
    return;
  }
  ClassCache& current = cache.classes[place.span.size_class];
  if (current.words != nullptr && current.unit == unit) {
    if (current.reserved != 0) --current.reserved;
    current.word = std::min(current.word, place.word_index);
    return;
  }
  const std::uint64_t end = place.span.first_block + place.span.blocks * place.span.block_bytes;
  for (const std::uint64_t other : cache.reserved) {
    if (other >= place.span.first_block && other < end) return;
  }
  if (std::erase(cache.parked, unit) != 0) disown(cache, unit);
}

void HeapCore::cancel(std::uint64_t offset) {
  if (auto mine = cache()) unreserve(**mine, offset);
}

Result<BlockState> HeapCore::state(std::uint64_t offset) {
  BlockPlace place;
  if (const Where where = locate(offset, place); where != Where::found) {
    return unexpected(bad_offset("state of", offset, where));
  }
  return to_state(bits_of(place.word->load(std::memory_order_acquire), place.shift));
}

Result<bool> HeapCore::change(std::uint64_t offset, BlockState from, BlockState to) {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  BlockPlace place;
  if (const Where where = locate(offset, place); where != Where::found) {
    return unexpected(
        Status(Code::corrupt, bad_offset("transaction names", offset, where).message()));
  }
  if (to == BlockState::freeing) STRATA_TRY(await_foreign_release(*mine, offset));
  const std::uint64_t mask = kPair << place.shift;
  const std::uint64_t target = std::uint64_t{to_bits(to)} << place.shift;
  std::uint64_t now = place.word->load(std::memory_order_relaxed);
  do {
    if (bits_of(now, place.shift) != to_bits(from)) return false;
    STRATA_STEP("change: before");
  } while (!place.word->compare_exchange_weak(now, (now & ~mask) | target));
  STRATA_STEP("change: after");
  if (from == BlockState::free) {
    unreserve(*mine, offset);
  } else if (to == BlockState::free) {
    after_free(mine, place, now & ~mask);
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
      const std::uint64_t now = span.words[i].load(std::memory_order_acquire);
      const std::uint64_t absent = no_such_blocks(span.blocks, i);
      const std::uint64_t pending = (now & ~absent) >> 1 & kAllocatedBits;
      if (pending == 0) continue;
      span.words[i].fetch_and(~(pending * kPair));
      flush(&span.words[i], sizeof(Word));
    }
    if (UnitState::of(span.state).owner == 0) settle_unowned(span, mine->slot_number);
  }
  return {};
}

void HeapCore::on_recovery(std::function<Result<void>(std::uint32_t)> recover_transactions) {
  recover_transactions_ = std::move(recover_transactions);
}

}  // namespace strata
