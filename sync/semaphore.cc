#include "strata/sync/semaphore.h"

#include <fmt/format.h>

#include <algorithm>

#include "sync/thread_hint.h"

namespace strata::inline v0_1 {

// Seats beyond a hostile count are never touched: check() has refused it.
std::uint32_t Semaphore::take_free(const SyncContext& context) {
  const std::uint32_t permits = std::min(permits_.load(std::memory_order_relaxed), kMaxPermits);
  // Threads begin at different seats, so that they meet seldom.
  const std::uint32_t first = permits == 0 ? 0 : thread_hint(context.token()) % permits;
  for (std::uint32_t i = 0; i < permits; ++i) {
    const std::uint32_t index = first + i < permits ? first + i : first + i - permits;
    if (seats_[index].take_free(context)) return index;
  }
  return kNone;
}

std::uint32_t Semaphore::take_from_dead(const SyncContext& context) {
  const std::uint32_t permits = std::min(permits_.load(std::memory_order_relaxed), kMaxPermits);
  for (std::uint32_t index = 0; index < permits; ++index) {
    if (seats_[index].take_from_dead(context, Seat::Heir::caller)) return index;
  }
  return kNone;
}

Unexpected Semaphore::all_held(std::uint32_t by) const {
  return fail(Code::timed_out, LateMessage{"semaphore: all {} permits are held, one by token {}",
                                           {permits_.load(std::memory_order_relaxed), by}});
}

Result<Semaphore::Permit> Semaphore::poll(const SyncContext& context) {
  std::uint32_t index = take_free(context);
  if (index != kNone) return Permit{index, Acquired::clean};
  const std::uint32_t permits = std::min(permits_.load(std::memory_order_relaxed), kMaxPermits);
  const std::uint64_t now_ns = coarse_monotonic_ns();
  for (index = 0; index < permits; ++index) {
    const std::uint32_t holder = seats_[index].token(context);
    if (holder != 0 && context.seems_dead(holder, now_ns) &&
        seats_[index].take_from_dead(context, Seat::Heir::caller)) {
      return Permit{index, Acquired::owner_died};
    }
  }
  return all_held(seats_[0].token(context));
}

Result<Semaphore::Permit> Semaphore::acquire(const SyncContext& context, Deadline deadline) {
  if (context.token() == 0) {
    return fail(Code::failed_precondition,
                "semaphore: a forked child needs a context of its own: ask its Segment for one");
  }
  STRATA_TRY(check());
  if (deadline.is_now()) return poll(context);
  for (std::uint32_t spin = 0; spin <= context.spins(); ++spin) {
    const std::uint32_t index = take_free(context);
    if (index != kNone) return Permit{index, Acquired::clean};
    relax_cpu();
  }
  SlicedWait wait(deadline);
  bool ask = false;
  for (;;) {
    const std::uint32_t ticket = sleepers_.prepare();
    std::uint32_t index = take_free(context);
    if (index != kNone) return Permit{index, Acquired::clean};
    const bool expired = wait.expired();
    if (ask || expired) {
      index = take_from_dead(context);
      if (index != kNone) return Permit{index, Acquired::owner_died};
    }
    if (expired) {
      if (!wait.is_long()) return all_held(seats_[0].token(context));
      return fail(Code::timed_out, fmt::format("semaphore: all {} permits are held, one by {}",
                                               permits_.load(std::memory_order_relaxed),
                                               context.describe(seats_[0].token(context))));
    }
    ask = sleepers_.sleep(ticket, wait);
  }
}

Result<void> Semaphore::release(const SyncContext& context, Permit permit) {
  if (permit.index >= kMaxPermits || !seats_[permit.index].is_mine(context)) {
    return fail(Code::failed_precondition,
                fmt::format("semaphore: permit {} is not held by this process", permit.index));
  }
  seats_[permit.index].give_up(context);
  sleepers_.wake_one();
  return {};
}

std::uint32_t Semaphore::free_permits(const SyncContext& context) const {
  const std::uint32_t permits = std::min(permits_.load(std::memory_order_relaxed), kMaxPermits);
  std::uint32_t free = 0;
  for (std::uint32_t index = 0; index < permits; ++index) {
    free += seats_[index].look(context) == Seat::State::free ? 1 : 0;
  }
  return free;
}

Result<void> Semaphore::check() const {
  const std::uint32_t permits = permits_.load(std::memory_order_relaxed);
  if (permits >= 1 && permits <= kMaxPermits) return {};
  return fail(Code::corrupt,
              fmt::format("semaphore: {} permits, of 1 to {}", permits, kMaxPermits));
}

}  // namespace strata::inline v0_1
