// What a dead process had in hand goes to whoever needs it. Every step can be done twice, so that
// a recoverer may be killed as well.
#include <algorithm>
#include <set>

#include "heap/heap_core_inline.h"

namespace strata::inline v0_1 {

using namespace heap_layout;

namespace {

constexpr std::uint64_t kLockTimeoutMs = 10'000;

}  // namespace

Result<bool> HeapCore::is_slot_dead(std::uint64_t owner_word) const {
  if (owner_word == 0) return false;
  if (owner_word >> 32 != me_ >> 32) return true;  // of a generation that is over
  STRATA_ASSIGN(const bool alive, owner_->is_alive(static_cast<std::uint32_t>(owner_word)));
  return !alive;
}

Result<RecoveryReport> HeapCore::recover() {
  STRATA_ASSIGN(ThreadCache* const mine, cache());
  STRATA_ASSIGN(RecoveryReport report, recover_now(mine, true));
  STRATA_TRY(lock_units());  // which repairs what a power failure has left
  unlock_units();
  report.units += retire_all_empty(mine->slot_number);
  return report;
}

Result<RecoveryReport> HeapCore::recover_now(ThreadCache* mine, bool may_lock_names) {
  RecoveryReport report;
  // A thread that holds the lock of the names has a slot.
  const bool may_wait = mine == nullptr || may_lock_names;
  if (mine == nullptr) may_lock_names = false;  // freeing an object takes a slot
  // While the log is being opened: what it will replay must find its spans as they are.
  if (has_transaction_log() && !recover_transactions_) return report;
  std::vector<std::uint32_t> dead;
  std::set<std::uint32_t> deferred;
  for (std::uint32_t number = 1; number <= kSlotCount; ++number) {
    const std::uint64_t owner = slot(number).owner.load(std::memory_order_acquire);
    STRATA_ASSIGN(const bool is_dead, is_slot_dead(owner));
    if (!is_dead) continue;
    // A block that it had reserved is still free, and its log may name it: first the transaction,
    // without our lock, since it takes locks of its own.
    if (slot(number).reserved_blocks.load(std::memory_order_acquire) != 0 &&
        (!recover_transactions_ || !recover_transactions_(static_cast<std::uint32_t>(owner)))) {
      ++report.deferred_slots;
      deferred.insert(number);
    }
    dead.push_back(number);
  }
  if (dead.empty()) return report;
  RobustMutex& lock = header().recovery_lock;
  // Who holds the lock of the names must not wait for somebody who may be waiting for that.
  const auto how = lock.lock_for_ms(*sync_, may_wait ? kLockTimeoutMs : 0);
  if (!how) {
    if (!may_wait && how.error().code() == Code::timed_out) return report;
    return unexpected(how.error());
  }
  STRATA_STEP("recovery locked");
  // Of a recoverer that died there is nothing to repair: what it did not do is done now.
  if (*how == Acquired::owner_died) (void)lock.mark_repaired(*sync_);
  if (mine != nullptr) mine->holds_recovery_lock = true;
  // All intents before anything that waits for the lock of the names: its holder may wait for them.
  for (const std::uint32_t number : dead) {
    const auto is_dead = is_slot_dead(slot(number).owner.load(std::memory_order_acquire));
    if (is_dead && *is_dead && resolve_intent(slot(number))) ++report.intents;
  }
  std::erase_if(dead, [&](const std::uint32_t number) { return deferred.contains(number); });
  for (const std::uint32_t number : dead) {
    // Another recoverer may have been here, and the slot may be in use again.
    const auto is_dead = is_slot_dead(slot(number).owner.load(std::memory_order_acquire));
    if (is_dead && *is_dead) recover_slot(number, mine, may_lock_names, report);
  }
  if (mine != nullptr) mine->holds_recovery_lock = false;
  STRATA_STEP("recovery to be unlocked");
  (void)lock.unlock(*sync_);
  return report;
}

void HeapCore::recover_slot(std::uint32_t number, ThreadCache* mine, bool may_lock_names,
                            RecoveryReport& report) {
  Slot& dead = slot(number);
  if (dead.record.load() != 0) {
    if (!may_lock_names || !resolve_object(*mine, dead)) {
      ++report.deferred_slots;
      return;
    }
    ++report.intents;
  }
  STRATA_STEP("recover: intents settled");
  const std::uint64_t limit = unit_limit();
  for (std::uint64_t unit = 0; unit < limit; ++unit) {
    const UnitState state = UnitState::of(descriptor(unit).state.load(std::memory_order_acquire));
    if (state.kind != UnitKind::head || state.owner != number) continue;
    disown_for(number, unit, mine == nullptr ? 0 : mine->slot_number);
    ++report.spans;
  }
  STRATA_STEP("recover: spans disowned");
  dead.reserved_blocks.store(0, std::memory_order_relaxed);
  dead.owner.store(0, std::memory_order_release);
  flush(&dead, sizeof(Slot));
  drain();
  header().recoveries.fetch_add(1, std::memory_order_relaxed);
  ++report.slots;
  STRATA_STEP("recover: slot freed");
}

}  // namespace strata::inline v0_1
