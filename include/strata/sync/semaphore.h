// A Semaphore hands out a fixed number of permits. A permit belongs to the process that took it
// and comes back by itself when that process dies.
//   Threads:  any thread of any attached process. A permit is released in the process that
//             acquired it; to signal others, use an Event or a ring.
//   Lifetime: the segment must stay mapped; never copied or moved. Made by its constructor.
//   Errors:   timed_out, with a holder's token, described in full after a wait of 1 s; corrupt;
//             failed_precondition in a forked child with its parent's context, and for a permit
//             that is not the caller's.
//   Cost:     one compare-and-swap for a permit that is free, one exchange to release it. A poll
//             that fails (a deadline of now): a load or two for each permit, and tens of ns.
//   Persists: no. A new generation starts with all permits free.
#pragma once

#include <array>
#include <cstdint>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/sync/seat.h"
#include "strata/sync/wake_word.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class alignas(8) Semaphore {
 public:
  static constexpr std::uint32_t kMaxPermits = 62;

  struct Permit {
    std::uint32_t index;
    Acquired how;  // owner_died: its last holder died with it
  };

  // 1 to kMaxPermits.
  explicit Semaphore(std::uint32_t permits) : permits_(permits) {}
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  Result<Permit> acquire(const SyncContext& context, Deadline deadline);
  Result<void> release(const SyncContext& context, Permit permit);
  // Permits that nobody holds now. Those of dead holders are not free yet.
  std::uint32_t free_permits(const SyncContext& context) const;
  Result<void> check() const;

 private:
  static constexpr std::uint32_t kNone = ~0u;

  std::uint32_t take_free(const SyncContext& context);
  std::uint32_t take_from_dead(const SyncContext& context);
  Result<Permit> poll(const SyncContext& context);
  Unexpected all_held(std::uint32_t by) const;

  SharedWord<std::uint32_t> permits_;    // 0
  WakeWord sleepers_;                    // 4
  std::uint64_t reserved_ = 0;           // 8
  std::array<Seat, kMaxPermits> seats_;  // 16
};

static_assert(sizeof(Semaphore) == 512);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
