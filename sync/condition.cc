#include "strata/sync/condition.h"

namespace strata::inline v0_1 {

Result<Condition::Outcome> Condition::wait(const SyncContext& context, RobustMutex& mutex,
                                           Deadline deadline) {
  Wake wake = Wake::timed_out;
  if (deadline.is_now()) {
    STRATA_TRY(mutex.unlock(context));
  } else {
    // Prepared while the mutex is held: whoever changes something after us sees the sleeper.
    const std::uint32_t ticket = sleepers_.prepare();
    STRATA_TRY(mutex.unlock(context));
    wake = sleep(ticket, deadline);
  }
  const auto relock = [&] {
    if (deadline.is_now()) return mutex.lock_for_ms(context, kRelockGraceMs);
    const Deadline grace = Deadline::after_ms(kRelockGraceMs);
    return mutex.lock(context, grace.at_ns() > deadline.at_ns() ? grace : deadline);
  };
  const auto relocked = relock();
  if (!relocked) return unexpected(relocked.error().in("condition: take the mutex again"));
  return Outcome{wake, *relocked};
}

Wake Condition::sleep(std::uint32_t ticket, Deadline deadline) {
  SlicedWait slices(deadline);
  while (!sleepers_.has_woken_since(ticket)) {
    if (slices.expired()) return Wake::timed_out;
    sleepers_.sleep(ticket, slices);
  }
  return Wake::notified;
}

}  // namespace strata::inline v0_1
