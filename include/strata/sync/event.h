// An Event is set once and stays set until it is reset; whoever waits for it goes on.
//   Threads:  any thread of any attached process.
//   Lifetime: the segment must stay mapped; never copied or moved. Zeroed bytes are not set.
//   Errors:   timed_out; corrupt for a word that no operation makes.
//   Cost:     one exchange to set, one load to find it set; else a bounded spin, then a futex. A
//             poll that fails (a deadline of now): two loads.
//   Persists: no. A new generation starts not set.
// A waiter that is killed leaves at most one futex call too many. A setter that is killed has set
// it or has not; sleepers whom it did not wake see it at the end of their slice.
#pragma once

#include <cstdint>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/sync/shared_word.h"
#include "strata/sync/sync_context.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class alignas(8) Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  // What was written before set() is seen by whoever wait() lets go on.
  void set(const SyncContext& context);
  void reset(const SyncContext& context);
  bool is_set(const SyncContext& context) const {
    return word_.load(std::memory_order_acquire) == (context.generation_bits() | kSet);
  }
  // An event that was reset again before the waiter looked was not seen.
  Result<void> wait(const SyncContext& context, Deadline deadline);
  // corrupt for a word that no operation makes.
  Result<void> check() const;

 private:
  static constexpr std::uint64_t kSet = 1;
  static constexpr std::uint64_t kSleepers = 2;  // never together with kSet

  static bool is_possible(std::uint64_t word) { return (word & 0xFFFFFFFF) <= kSleepers; }
  static Unexpected not_set();
  Unexpected bad(std::uint64_t word) const;

  SharedWord<std::uint64_t> word_;  // generation in the high half, flags in the low
  std::uint64_t reserved_ = 0;
};

static_assert(sizeof(Event) == 16);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
