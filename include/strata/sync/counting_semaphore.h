// A CountingSemaphore is a number that acquire() takes one from and release() adds to: whoever
// releases need not be who acquired. For permits that come back from killed processes there is
// Semaphore.
//   Threads:  any thread of any attached process.
//   Lifetime: the segment must stay mapped; never copied or moved. Made by its constructor.
//   Errors:   timed_out; invalid_argument for a release beyond kMaxValue, which changes nothing.
//   Cost:     one compare-and-swap; to wait, a bounded spin, then a futex call.
//   Persists: no. A new generation starts with the initial value.
// What a killed process had taken is lost, as nobody knows whether it was handed on. A releaser
// that is killed has released or has not; sleepers whom it did not wake look around at the end of
// their slice.
#pragma once

#include <cstdint>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/sync/sync_context.h"
#include "strata/sync/wake_word.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class alignas(8) CountingSemaphore {
 public:
  static constexpr std::uint32_t kMaxValue = 0x7FFFFFFF;

  // 0 to kMaxValue.
  explicit CountingSemaphore(std::uint32_t initial) : initial_(initial) {}
  CountingSemaphore(const CountingSemaphore&) = delete;
  CountingSemaphore& operator=(const CountingSemaphore&) = delete;

  Result<void> acquire(const SyncContext& context, Deadline deadline);
  // What was written before is seen by whoever acquire() lets go on.
  Result<void> release(const SyncContext& context, std::uint32_t count = 1);
  std::uint32_t value(const SyncContext& context) const {
    return value_of(word_.load(std::memory_order_acquire), context);
  }
  std::uint32_t initial() const { return initial_.load(std::memory_order_relaxed); }

 private:
  std::uint32_t value_of(std::uint64_t word, const SyncContext& context) const;
  bool take(const SyncContext& context);

  SharedWord<std::uint64_t> word_;     // 0: generation in the high half, value in the low
  SharedWord<std::uint32_t> initial_;  // 8
  WakeWord sleepers_;                  // 12
};

static_assert(sizeof(CountingSemaphore) == 16);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
