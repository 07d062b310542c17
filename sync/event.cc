#include "strata/sync/event.h"

#include <fmt/format.h>

#include <climits>

#include "strata/os/futex.h"
#include "strata/sync/lock_word.h"
#include "strata/sync/wait.h"

namespace strata::inline v0_1 {

using lock_word::is_of;

void Event::set(const SyncContext& context) {
  const std::uint64_t last =
      word_.exchange(context.generation_bits() | kSet, std::memory_order_acq_rel);
  if (is_of(last, context.generation_bits()) && (last & kSleepers) == 0) return;
  // Also for the word of another generation: a wake-up too many harms nobody.
  STRATA_STEP("before futex_wake");
  futex_wake(word_.futex(), INT_MAX);
}

void Event::reset(const SyncContext& context) {
  // Sleepers wait for a set event: resetting one that is not set must leave their mark alone.
  std::uint64_t word = context.generation_bits() | kSet;
  word_.compare_exchange(word, context.generation_bits(), std::memory_order_acq_rel);
}

Result<void> Event::wait(const SyncContext& context, Deadline deadline) {
  if (deadline.is_now()) {
    const std::uint64_t word = word_.load(std::memory_order_acquire);
    if (word == (context.generation_bits() | kSet)) return {};
    if (is_of(word, context.generation_bits()) && !is_possible(word)) return bad(word);
    return not_set();
  }
  for (std::uint32_t spin = 0; spin <= context.spins(); ++spin) {
    if (is_set(context)) return {};
    relax_cpu();
  }
  SlicedWait wait(deadline);
  for (;;) {
    std::uint64_t word = word_.load(std::memory_order_acquire);
    const std::uint64_t sleeping = context.generation_bits() | kSleepers;
    if (word == (context.generation_bits() | kSet)) return {};
    if (is_of(word, context.generation_bits()) && !is_possible(word)) return bad(word);
    if (wait.expired()) return not_set();
    if (word != sleeping && !word_.compare_exchange(word, sleeping, std::memory_order_relaxed)) {
      continue;
    }
    STRATA_STEP("before futex_wait");
    wait.sleep(word_.futex(), static_cast<std::uint32_t>(sleeping));
  }
}

Result<void> Event::check() const {
  const std::uint64_t word = word_.load(std::memory_order_relaxed);
  if (is_possible(word)) return {};
  return bad(word);
}

Unexpected Event::not_set() {
  return fail(Code::timed_out, LateMessage{"event: not set before the deadline"});
}

Unexpected Event::bad(std::uint64_t word) const {
  return fail(Code::corrupt, fmt::format("event: word {:#018x} is no state of an event", word));
}

}  // namespace strata::inline v0_1
