// allocate_to and free_from: a block changes hands together with the word that holds its offset.
//
// The slot says what is under way before it begins. Whoever finds the owner dead looks at the word:
//   allocate: the word holds the block -> done; else the block is freed, if it was taken at all.
//             Nobody else can have it, as the span stays the dead slot's until this is settled.
//   release:  the word holds the block -> nothing has happened, the pending bit is taken back;
//             else the free has happened, and is finished if the block is still pending.
//             It is this free that is pending, and no later one of the same block, since nobody
//             begins to free a block that a slot's intent names (await_foreign_release).
#include <fmt/format.h>

#include <algorithm>

#include "heap/heap_core_inline.h"
#include "os/os.h"

namespace strata::inline v0_1 {

using namespace heap_layout;

namespace {

constexpr std::uint64_t kForeignReleaseTimeoutMs = 10'000;
constexpr unsigned kFree = 0b00, kAllocated = 0b01, kFreeing = 0b11;

}  // namespace

void HeapCore::begin_intent(Slot& slot, std::uint64_t offset_bytes, SlotIntent intent,
                            const Word& place) {
  const auto place_bytes =
      static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&place) - base_);
  // The place first: where an intent stands, its place is valid.
  slot.place.store(place_bytes, std::memory_order_release);
  STRATA_STEP("intent: place written");
  slot.intent.store(offset_bytes | static_cast<std::uint64_t>(intent));
  flush(&slot, sizeof(Slot));
  drain();
  STRATA_STEP("intent: begun");
}

void HeapCore::end_intent(Slot& slot) {
  slot.intent.store(0, std::memory_order_release);
  flush(&slot, sizeof(Slot));
  STRATA_STEP("intent: ended");
}

Result<void> HeapCore::check_destination(const char* what, const Word& place) const {
  const auto* const bytes = reinterpret_cast<const std::byte*>(&place);
  const auto offset = static_cast<std::uint64_t>(bytes - base_);
  if (bytes < base_ || at(offset, sizeof(Word)) == nullptr || offset % sizeof(Word) != 0) {
    return fail(Code::invalid_argument,
                fmt::format("{}: the word that holds the offset is not in this heap", what));
  }
  return {};
}

Result<void> HeapCore::allocate_to(Word& destination, std::uint64_t bytes, std::uint64_t align) {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  STRATA_TRY(check_destination("allocate", destination));
  if (const std::uint64_t now = destination.load(std::memory_order_relaxed); now != 0) {
    return fail(Code::invalid_argument,
                fmt::format("allocate: the destination holds {:#x} already, not 0", now));
  }
  STRATA_ASSIGN(const unsigned size_class, pick_class(bytes, align));
  Slot& slot = *mine->slot;
  std::uint64_t offset = 0;
  if (size_class == kLargeClass) {
    STRATA_ASSIGN(offset, take_large(*mine, bytes, Taking::large, &destination));
  } else {
    STRATA_ASSIGN(const FreeBlock block, pick(*mine, size_class));
    offset = block.offset();
    begin_intent(slot, offset, SlotIntent::allocate, destination);
    if (!take(block)) {
      end_intent(slot);
      return fail(Code::corrupt, fmt::format("allocate: the free block at {:#x} was changed by "
                                             "somebody who did not own it",
                                             offset));
    }
    flush(block.word, sizeof(BlockWord));
    drain();
    STRATA_STEP("allocate_to: block taken");
  }
  destination.store(offset, std::memory_order_release);
  flush(&destination, sizeof(Word));
  drain();
  STRATA_STEP("allocate_to: published");
  end_intent(slot);
  if (size_class == kLargeClass) disown(*mine, offset / kUnitBytes);
  return {};
}

// Returns once no other slot is about to finish a free of the block at `offset_bytes`.
Result<void> HeapCore::await_foreign_release(ThreadCache& cache, std::uint64_t offset_bytes) {
  const std::uint64_t intent = offset_bytes | static_cast<std::uint64_t>(SlotIntent::release);
  const auto high = std::min<std::uint64_t>(header().slot_high.load(), kSlotCount);
  for (std::uint32_t number = 1; number <= high; ++number) {
    if (number == cache.slot_number) continue;
    if (slot(number).intent.load() == intent) {
      STRATA_TRY(finish_dead_intent(cache, number, intent));
    }
  }
  return {};
}

// Returns once slot `number` no longer has this intent: its owner ended it, or is dead and it was
// resolved. That takes the recovery lock: of two resolvers the slower might otherwise act on what
// the block has become meanwhile.
Result<void> HeapCore::finish_dead_intent(ThreadCache& cache, std::uint32_t number,
                                          std::uint64_t intent) {
  Slot& other = slot(number);
  if (cache.holds_recovery_lock) {
    STRATA_ASSIGN(const bool dead, is_slot_dead(other.owner.load()));
    if (dead) resolve_intent(other);
  }
  const Deadline deadline = Deadline::after_ms(kForeignReleaseTimeoutMs);
  while (other.intent.load() == intent) {
    const std::uint64_t owner = other.owner.load();
    STRATA_ASSIGN(const bool dead, is_slot_dead(owner));
    if (dead) {
      // Never waits for the lock: its holder may wait for one that this thread has. It resolves
      // all intents before it does.
      RobustMutex& lock = header().recovery_lock;
      if (auto how = lock.try_lock(*sync_)) {
        STRATA_STEP("intent: recovery locked");
        if (*how == Acquired::owner_died) (void)lock.mark_repaired(*sync_);
        const auto still_dead = is_slot_dead(other.owner.load());
        if (still_dead && *still_dead && other.intent.load() == intent) resolve_intent(other);
        (void)lock.unlock(*sync_);
        continue;
      }
    }
    if (deadline.expired()) {
      return fail(
          Code::timed_out,
          fmt::format("free offset {:#x}: {} has not finished an earlier free of it",
                      intent & ~kIntentMask, owner_->describe(static_cast<std::uint32_t>(owner))));
    }
    memory_->os().sleep_ns(50'000);
  }
  return {};
}

Result<void> HeapCore::free_from(Word& source) {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  STRATA_TRY(check_destination("free", source));
  const std::uint64_t offset = source.load(std::memory_order_acquire);
  BlockPlace place;
  if (const Where where = locate(offset, place); where != Where::found) {
    return unexpected(bad_offset("free", offset, where));
  }
  STRATA_TRY(await_foreign_release(*mine, offset));
  Slot& slot = *mine->slot;
  begin_intent(slot, offset, SlotIntent::release, source);
  std::uint64_t now;
  if (!change_bits(place, kAllocated, kFreeing, now)) {
    end_intent(slot);
    return unexpected(bad_state("free", offset, static_cast<unsigned>(now >> place.shift & 3)));
  }
  flush(place.word, sizeof(BlockWord));
  drain();
  STRATA_STEP("free_from: pending");
  source.store(0, std::memory_order_release);
  flush(&source, sizeof(Word));
  drain();
  STRATA_STEP("free_from: withdrawn");
  const bool is_freed = change_bits(place, kFreeing, kFree, now);
  flush(place.word, sizeof(BlockWord));
  drain();
  STRATA_STEP("free_from: freed");
  end_intent(slot);
  if (is_freed) after_free(mine, place, now);
  return {};
}

// Completes or undoes what a dead slot had begun; true where there was something.
bool HeapCore::resolve_intent(Slot& slot) {
  const std::uint64_t word = slot.intent.load(std::memory_order_acquire);
  if (word == 0) return false;
  const auto intent = static_cast<SlotIntent>(word & kIntentMask);
  const std::uint64_t offset = word & ~kIntentMask;
  const auto* const holder = reinterpret_cast<const Word*>(
      slot.place.load(std::memory_order_acquire) % sizeof(Word) == 0
          ? at(slot.place.load(std::memory_order_acquire), sizeof(Word))
          : nullptr);
  const bool holds = holder != nullptr && holder->load(std::memory_order_acquire) == offset;
  BlockPlace place;
  if (locate(offset, place) == Where::found) {
    const unsigned wanted = intent == SlotIntent::release && holds ? kAllocated : kFree;
    std::uint64_t now;
    const bool is_undone =
        intent == SlotIntent::allocate && !holds
            ? change_bits(place, kAllocated, wanted, now)
            : intent == SlotIntent::release && change_bits(place, kFreeing, wanted, now);
    if (is_undone) {
      flush(place.word, sizeof(BlockWord));
      drain();
      if (wanted == kFree) after_free(nullptr, place, now);
    }
  }
  STRATA_STEP("resolve: settled");
  end_intent(slot);
  return true;
}

}  // namespace strata::inline v0_1
