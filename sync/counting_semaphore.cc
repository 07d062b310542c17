#include "strata/sync/counting_semaphore.h"

#include <fmt/format.h>

#include <algorithm>

#include "strata/sync/lock_word.h"

namespace strata::inline v0_1 {

// The word of another generation stands for the initial value.
std::uint32_t CountingSemaphore::value_of(std::uint64_t word, const SyncContext& context) const {
  const bool is_now = lock_word::is_of(word, context.generation_bits());
  return std::min(is_now ? static_cast<std::uint32_t>(word) : initial(), kMaxValue);
}

bool CountingSemaphore::take(const SyncContext& context) {
  std::uint64_t word = word_.load(std::memory_order_seq_cst);
  for (;;) {
    const std::uint32_t value = value_of(word, context);
    if (value == 0) return false;
    if (word_.compare_exchange(word, context.generation_bits() | (value - 1),
                               std::memory_order_seq_cst)) {
      return true;
    }
  }
}

Result<void> CountingSemaphore::acquire(const SyncContext& context, Deadline deadline) {
  if (take(context)) return {};
  SlicedWait slices(deadline);
  if (!slices.expired()) {
    for (std::uint32_t spin = 0; spin < context.spins(); ++spin) {
      relax_cpu();
      if (take(context)) return {};
    }
  }
  for (;;) {
    if (slices.expired()) {
      return fail(Code::timed_out, LateMessage{"semaphore: nobody has released it"});
    }
    const std::uint32_t ticket = sleepers_.prepare();
    if (take(context)) return {};
    sleepers_.sleep(ticket, slices);
  }
}

Result<void> CountingSemaphore::release(const SyncContext& context, std::uint32_t count) {
  std::uint64_t word = word_.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint32_t value = value_of(word, context);
    if (count > kMaxValue - value) {
      return fail(Code::invalid_argument,
                  fmt::format("semaphore: {} released to a value of {}: it is {} at most", count,
                              value, kMaxValue));
    }
    if (word_.compare_exchange(word, context.generation_bits() | (value + count),
                               std::memory_order_seq_cst)) {
      break;
    }
  }
  if (count == 1) {
    sleepers_.wake_one();
  } else {
    sleepers_.wake_all();
  }
  return {};
}

}  // namespace strata::inline v0_1
