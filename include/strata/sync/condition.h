// A Condition lets holders of a RobustMutex wait until somebody changed what it guards.
//   Threads:  any thread of any attached process that holds the mutex.
//   Lifetime: the segment must stay mapped; never copied or moved. Zeroed bytes will do.
//   Errors:   those of RobustMutex::lock, when the mutex could not be taken again: then it is
//             not held. A deadline that passes is no error: the mutex is held again.
//   Cost:     to notify where nobody waits, one load.
//   Persists: no.
// Wake-ups without cause happen: wait in a loop that looks at what you wait for. If a waiter is
// killed with the wake-up that it was given, the other waiters wake at the end of their slice; so
// they do if a notifier is killed before it wakes anybody.
#pragma once

#include <cstdint>

#include "strata/sync/robust_mutex.h"
#include "strata/sync/wake_word.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

enum class Wake : std::uint8_t { notified, timed_out };

class alignas(8) Condition {
 public:
  struct Outcome {
    Wake wake;
    Acquired mutex;  // owner_died: a holder died meanwhile, repair
  };

  Condition() = default;
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;

  // Requires that this process holds `mutex`, which it holds again on success. After the deadline
  // it still tries for kRelockGraceMs to get it back. A deadline of now lets go of the mutex for a
  // moment, and is notified of nothing.
  Result<Outcome> wait(const SyncContext& context, RobustMutex& mutex, Deadline deadline);

  // Call them with the mutex held, or after: what changed must have changed under it.
  void notify_one() { sleepers_.wake_one(); }
  void notify_all() { sleepers_.wake_all(); }

  // The parts of wait(), for whoever looks around while it sleeps. Take a ticket with the mutex
  // held, unlock the mutex, sleep until has_woken_since(), lock it again.
  std::uint32_t ticket() { return sleepers_.prepare(); }
  bool has_woken_since(std::uint32_t ticket) const { return sleepers_.has_woken_since(ticket); }
  // Until somebody notifies, or the deadline: Wake::notified also where that was before the call.
  Wake sleep(std::uint32_t ticket, Deadline deadline);

  static constexpr std::uint64_t kRelockGraceMs = 1000;

 private:
  WakeWord sleepers_;
  std::uint32_t reserved_ = 0;
};

static_assert(sizeof(Condition) == 8);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
