// What happens to a transaction as a whole: it is completed, or it is undone, by its owner or by
// whoever finds the owner dead; and what happens to all of them, at a checkpoint or after the
// power failed. Every function here may be killed anywhere and run again from its start.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "strata/base/step.h"
#include "transaction/transaction_log.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kRecoveryTimeoutMs = 60'000;

std::uint32_t value_of(SlotState state) { return static_cast<std::uint32_t>(state); }

Unexpected damaged(std::string_view what) {
  return fail(Code::corrupt, fmt::format("transaction log: {}", what));
}

}  // namespace

template <typename Function>
Result<void> TransactionLog::for_each_entry_in(std::span<const std::byte> entries,
                                               Function&& visit) const {
  EntryCursor cursor(entries, bounds());
  for (Entry entry; cursor.next(entry);)
    STRATA_TRY(visit(entry));
  if (cursor.is_malformed()) return damaged("an entry is malformed or points outside the payload");
  return {};
}

// All entries of the transaction in hand: of its sealed records and of the open one.
template <typename Function>
Result<void> TransactionLog::for_each_entry(const Slot& slot, Function&& visit) const {
  STRATA_ASSIGN(const Extent extent, extent_of(slot));
  STRATA_ASSIGN(std::uint64_t at, first_bytes_of(slot, extent));
  const std::uint64_t used = extent.used_bytes, open = extent.open_bytes;
  while (at < used) {
    const std::optional<Record> record = read_live_record(slot.buffer, at);
    if (!record || record->end_bytes > used) return damaged("a record of a slot is damaged");
    STRATA_TRY(for_each_entry_in(record->entries, visit));
    at = record->end_bytes;
  }
  if (open <= sizeof(RecordHead)) return {};
  return for_each_entry_in(
      slot.buffer.subspan(used + sizeof(RecordHead), open - sizeof(RecordHead)), visit);
}

Result<void> TransactionLog::complete(const Slot& slot, std::span<const std::byte> entries) {
  SlotHead& head = *slot.head;
  if (head.state.load(std::memory_order_acquire) == value_of(SlotState::committed)) {
    bool frees = false;
    STRATA_TRY(apply(slot, entries, frees));
    // On durable memory the next checkpoint releases what was freed: until then a power failure
    // would free it again, whoever has it by then.
    if (frees && is_volatile_) {
      head.state.store(value_of(SlotState::releasing), std::memory_order_release);
    }
  }
  if (head.state.load(std::memory_order_relaxed) == value_of(SlotState::releasing)) {
    STRATA_TRY(release_blocks(slot, EntryKind::free));
  }
  head.state.store(value_of(SlotState::idle), std::memory_order_release);
  return {};
}

Result<void> TransactionLog::apply(const Slot& slot, std::span<const std::byte> entries,
                                   bool& frees) {
  std::byte* const base = base_;
  bool has_copied = false;
  const auto apply_one = [&](const Entry& entry) -> Result<void> {
    switch (entry.kind) {
      case EntryKind::write:
        STRATA_STEP("apply a write");
        // Whoever reads without the locks goes by the order: see Transaction::announce.
        std::atomic_thread_fence(std::memory_order_release);
        if (is_applied_durably(entry.data.size())) {
          durability_.copy(base + entry.offset, entry.data.data(), entry.data.size());
          has_copied = true;
        } else {
          std::memcpy(base + entry.offset, entry.data.data(), entry.data.size());
        }
        return {};
      case EntryKind::undo: return {};
      case EntryKind::allocate:
        STRATA_STEP("apply an allocation");
        STRATA_TRY(blocks_.change(entry.offset, BlockState::tentative, BlockState::allocated));
        return {};
      case EntryKind::free:
        frees = true;
        STRATA_STEP("apply a free");
        STRATA_TRY(blocks_.change(entry.offset, BlockState::allocated, BlockState::freeing));
        return {};
    }
    return {};
  };
  STRATA_TRY(entries.empty() ? for_each_entry(slot, apply_one)
                             : for_each_entry_in(entries, apply_one));
  if (!has_copied) return {};
  STRATA_STEP("drain large writes");
  return durability_.drain();
}

Result<void> TransactionLog::release_blocks(const Slot& slot, EntryKind kind) {
  return for_each_entry(slot, [&](const Entry& entry) -> Result<void> {
    if (entry.kind != kind) return {};
    STRATA_STEP("release a block");
    STRATA_TRY(blocks_.change(entry.offset, BlockState::freeing, BlockState::free));
    return {};
  });
}

Result<void> TransactionLog::roll_back(const Slot& slot) {
  SlotHead& head = *slot.head;
  if (head.state.load(std::memory_order_acquire) == value_of(SlotState::active)) {
    STRATA_TRY(undo(slot));
    // Blocks become free in two phases, so that a second run cannot take one from a new owner.
    STRATA_TRY(for_each_entry(slot, [&](const Entry& entry) -> Result<void> {
      if (entry.kind != EntryKind::allocate) return {};
      STRATA_STEP("undo an allocation");
      STRATA_TRY(blocks_.change(entry.offset, BlockState::tentative, BlockState::freeing));
      return {};
    }));
    if (!is_volatile_) STRATA_TRY(void_records(slot));
    head.state.store(value_of(SlotState::undone), std::memory_order_release);
  }
  STRATA_TRY(release_blocks(slot, EntryKind::allocate));
  // What it sealed is forgotten with it.
  const auto first = static_cast<std::uint32_t>(head.first_bytes.load(std::memory_order_relaxed));
  head.extent.store(Extent{first, 0}.word(), std::memory_order_release);
  head.state.store(value_of(SlotState::idle), std::memory_order_release);
  return {};
}

// Puts the old bytes back, the last snapshot first.
Result<void> TransactionLog::undo(const Slot& slot) {
  std::vector<Entry> old;
  STRATA_TRY(for_each_entry(slot, [&](const Entry& entry) -> Result<void> {
    if (entry.kind == EntryKind::undo) old.push_back(entry);
    return {};
  }));
  std::byte* const base = base_;
  for (auto entry = old.rbegin(); entry != old.rend(); ++entry) {
    STRATA_STEP("undo a range");
    std::memcpy(base + entry->offset, entry->data.data(), entry->data.size());
    if (!is_volatile_) durability_.flush(base + entry->offset, entry->data.size());
  }
  return {};
}

// What was undone must be durable before its records are void, and both before the locks are free.
Result<void> TransactionLog::void_records(const Slot& slot) {
  STRATA_STEP("drain what was undone");
  STRATA_TRY(durability_.drain());
  STRATA_ASSIGN(const Extent extent, extent_of(slot));
  STRATA_ASSIGN(const std::uint64_t first, first_bytes_of(slot, extent));
  // Even where no record is known to stand there: it may have been killed while it sealed one.
  if (slot.buffer.size() - first < sizeof(RecordHead)) return {};
  const std::span<const std::byte> voided = void_record(slot.buffer, first);
  durability_.flush(voided.data(), voided.size());
  STRATA_STEP("drain a void record");
  return durability_.drain();
}

Result<void> TransactionLog::recover_slot(const Slot& slot) {
  SlotHead& head = *slot.head;
  auto guard =
      RobustMutex::Guard::lock(head.recovery, context_, Deadline::after_ms(kRecoveryTimeoutMs));
  if (!guard) return unexpected(guard.error().in("recover a transaction"));
  if (guard->owner_died()) STRATA_TRY(guard->mark_repaired());
  std::uint64_t owner = head.owner.load(std::memory_order_acquire);
  if (!is_owner_dead(owner)) return {};
  refresh_payload();
  switch (static_cast<SlotState>(head.state.load(std::memory_order_acquire))) {
    case SlotState::idle: break;
    case SlotState::active:
    case SlotState::undone: STRATA_TRY(roll_back(slot)); break;
    case SlotState::committed:
      // It may have died before its record was durable.
      if (!is_volatile_) STRATA_TRY(make_durable(slot));
      STRATA_TRY(complete(slot));
      break;
    case SlotState::releasing: STRATA_TRY(complete(slot)); break;
    default: return damaged("a slot is in a state that does not exist");
  }
  head.owner.compare_exchange(owner, 0, std::memory_order_release);
  return {};
}

Result<void> TransactionLog::recover_lock(std::uint64_t lock_offset) {
  for (std::uint32_t i = 0; i < identity_.slot_count; ++i) {
    const Slot slot = this->slot(i);
    SlotHead& head = *slot.head;
    if (head.state.load(std::memory_order_acquire) == value_of(SlotState::idle)) continue;
    const std::uint32_t count =
        std::min(head.lock_count.load(std::memory_order_acquire), kMaxTransactionLocks);
    for (std::uint32_t k = 0; k < count; ++k) {
      if (head.locks[k].load(std::memory_order_relaxed) != lock_offset) continue;
      if (is_owner_dead(head.owner.load(std::memory_order_acquire))) {
        STRATA_TRY(recover_slot(slot));
      }
      break;
    }
  }
  return {};
}

Result<void> TransactionLog::recover_dead() {
  for (std::uint32_t i = 0; i < identity_.slot_count; ++i) {
    const Slot slot = this->slot(i);
    if (is_owner_dead(slot.head->owner.load(std::memory_order_acquire))) {
      STRATA_TRY(recover_slot(slot));
    }
  }
  return {};
}

bool TransactionLog::has_unfinished(std::uint32_t token) const {
  for (std::uint32_t i = 0; i < identity_.slot_count; ++i) {
    const SlotHead& head = *slot(i).head;
    if (head.owner.load(std::memory_order_acquire) == (context_.generation_bits() | token) &&
        head.state.load(std::memory_order_acquire) != value_of(SlotState::idle)) {
      return true;
    }
  }
  return false;
}

}  // namespace strata::inline v0_1
