#include "strata/sync/robust_mutex.h"

#include <fmt/format.h>

#include <algorithm>

#include "strata/os/futex.h"
#include "strata/sync/wait.h"

namespace strata::inline v0_1 {

using lock_word::is_of;
using lock_word::is_possible;
using lock_word::kSleepers;
using lock_word::kUnrepaired;
using lock_word::token_of;

namespace {

constexpr std::uint32_t kMostPauses = 64;  // between two looks of one who spins

}  // namespace

// Takes the lock where `word`, which is read anew, says that it is free. `also` is kSleepers for
// one who slept: an unlock wakes one sleeper and forgets the rest, so that one remembers them.
RobustMutex::Take RobustMutex::try_take(const SyncContext& context, std::uint64_t& word,
                                        std::uint64_t also) {
  const std::uint64_t mine = context.generation_bits() | context.token() | also;
  word = word_.load(std::memory_order_relaxed);
  for (;;) {
    std::uint64_t take = mine;
    if (is_of(word, context.generation_bits())) {
      if (!is_possible(word)) return Take::corrupt;
      if (token_of(word) != 0) return Take::held;
      take |= word & kUnrepaired;
    }
    if (word_.compare_exchange(word, take, std::memory_order_acquire)) {
      note_holder(context);
      return (take & kUnrepaired) != 0 ? Take::got_owner_died : Take::got_clean;
    }
  }
}

// `word` names a holder that is dead. Of several who found that, one gets the lock.
RobustMutex::Take RobustMutex::take_from_dead(const SyncContext& context, std::uint64_t word) {
  // Sleepers may have marked themselves since `word` was read; the token decides.
  const std::uint32_t dead = token_of(word);
  while (is_of(word, context.generation_bits()) && token_of(word) == dead) {
    const std::uint64_t take =
        context.generation_bits() | context.token() | (word & kSleepers) | kUnrepaired;
    if (word_.compare_exchange(word, take, std::memory_order_acquire)) {
      note_holder(context);
      owner_deaths_.fetch_add(1, std::memory_order_relaxed);
      return Take::got_owner_died;
    }
  }
  return Take::held;
}

Result<Acquired> RobustMutex::lock_slowly(const SyncContext& context, Deadline deadline) {
  if (context.token() == 0) {
    return fail(Code::failed_precondition,
                "lock: a forked child needs a context of its own: ask its Segment for one");
  }
  if (deadline.is_now()) return poll(context);
  std::uint64_t word = 0;
  // Looks come more and more seldom: each takes the cache line away from the holder, who needs it
  // to unlock.
  std::uint32_t pauses = 1;
  for (std::uint32_t spin = 0; spin <= context.spins(); spin += pauses) {
    switch (try_take(context, word, 0)) {
      case Take::got_clean: return Acquired::clean;
      case Take::got_owner_died: return Acquired::owner_died;
      case Take::corrupt: break;
      case Take::held:
        pauses = std::min(pauses * 2, kMostPauses);
        for (std::uint32_t i = 0; i < pauses && spin + i < context.spins(); ++i)
          relax_cpu();
        continue;
    }
    break;
  }
  return wait_and_lock(context, deadline);
}

Result<Acquired> RobustMutex::poll(const SyncContext& context) {
  for (;;) {
    std::uint64_t word = 0;
    switch (try_take(context, word, 0)) {
      case Take::got_clean: return Acquired::clean;
      case Take::got_owner_died: return Acquired::owner_died;
      case Take::corrupt: return impossible(word);
      case Take::held: break;
    }
    if (!context.seems_dead(token_of(word), coarse_monotonic_ns())) return held(word);
    if (take_from_dead(context, word) == Take::got_owner_died) return Acquired::owner_died;
    // Somebody else was quicker.
  }
}

Result<Acquired> RobustMutex::wait_and_lock(const SyncContext& context, Deadline deadline) {
  const bool counts = counts_contention_.load(std::memory_order_relaxed) != 0;
  const std::uint64_t since_ns = counts ? monotonic_ns() : 0;
  const std::uint32_t for_pid = holder_pid_.load(std::memory_order_relaxed);
  const auto got = [&](Acquired how) {
    if (counts) count_wait(monotonic_ns() - since_ns, for_pid);
    return how;
  };

  SlicedWait wait(deadline);
  std::uint64_t also = 0;
  bool ask = false;
  for (;;) {
    std::uint64_t word = 0;
    switch (try_take(context, word, also)) {
      case Take::got_clean: return got(Acquired::clean);
      case Take::got_owner_died: return got(Acquired::owner_died);
      case Take::corrupt: return impossible(word);
      case Take::held: break;
    }
    const bool expired = wait.expired();
    if ((ask || expired) && context.is_dead(token_of(word))) {
      if (take_from_dead(context, word) == Take::got_owner_died) return got(Acquired::owner_died);
      continue;  // somebody else was quicker
    }
    if (expired) {
      if (!wait.is_long()) return held(word);
      return fail(Code::timed_out, "lock: held by " + describe(context, word));
    }
    if ((word & kSleepers) == 0) {
      if (!word_.compare_exchange(word, word | kSleepers, std::memory_order_relaxed)) continue;
      word |= kSleepers;
    }
    also = kSleepers;
    STRATA_STEP("before futex_wait");
    ask = wait.sleep(word_.futex(), static_cast<std::uint32_t>(word));
  }
}

// Called by the one that holds the lock now, so that plain additions lose nothing.
void RobustMutex::count_wait(std::uint64_t waited_ns, std::uint32_t for_pid) {
  constexpr auto relaxed = std::memory_order_relaxed;
  waits_.store(waits_.load(relaxed) + 1, relaxed);
  total_wait_ns_.store(total_wait_ns_.load(relaxed) + waited_ns, relaxed);
  if (waited_ns > longest_wait_ns_.load(relaxed)) {
    longest_wait_ns_.store(waited_ns, relaxed);
    longest_wait_pid_.store(for_pid, relaxed);
  }
}

void RobustMutex::wake_one() {
  STRATA_STEP("before futex_wake");
  futex_wake(word_.futex(), 1);
}

Result<void> RobustMutex::mark_repaired(const SyncContext& context) {
  const std::uint64_t held = word_.load(std::memory_order_relaxed);
  if (!is_mine(held, context)) return not_mine(context, held);
  word_.fetch_and(~kUnrepaired, std::memory_order_release);
  return {};
}

Unexpected RobustMutex::not_mine(const SyncContext& context, std::uint64_t word) const {
  if (token_of(word) == 0 || !is_of(word, context.generation_bits())) {
    return fail(Code::failed_precondition, "unlock: nobody holds the lock");
  }
  return fail(Code::failed_precondition,
              fmt::format("unlock: held by {}", context.describe(token_of(word))));
}

Unexpected RobustMutex::held(std::uint64_t word) const {
  return fail(Code::timed_out,
              LateMessage{"lock: held by token {} (noted in the lock: pid {}, start time {} ticks)",
                          {token_of(word), holder_pid_.load(std::memory_order_relaxed),
                           holder_start_time_ticks_.load(std::memory_order_relaxed)}});
}

std::string RobustMutex::describe(const SyncContext& context, std::uint64_t word) const {
  return fmt::format("{} (noted in the lock: pid {}, start time {} ticks)",
                     context.describe(token_of(word)), holder_pid_.load(std::memory_order_relaxed),
                     holder_start_time_ticks_.load(std::memory_order_relaxed));
}

Unexpected RobustMutex::impossible(std::uint64_t word) const {
  return fail(Code::corrupt, fmt::format("lock: word {:#018x} is no state of a lock", word));
}

std::optional<RobustMutex::HolderNote> RobustMutex::holder(const SyncContext& context) const {
  const std::uint64_t word = word_.load(std::memory_order_acquire);
  if (!is_of(word, context.generation_bits()) || token_of(word) == 0) return std::nullopt;
  return HolderNote{token_of(word), holder_pid_.load(std::memory_order_relaxed),
                    holder_start_time_ticks_.load(std::memory_order_relaxed)};
}

std::string RobustMutex::describe_holder(const SyncContext& context) const {
  const std::uint64_t word = word_.load(std::memory_order_relaxed);
  if (!is_of(word, context.generation_bits()) || token_of(word) == 0) return "nobody";
  return describe(context, word);
}

LockReport RobustMutex::report() const {
  constexpr auto relaxed = std::memory_order_relaxed;
  const std::uint64_t word = word_.load(relaxed);
  return {
      .token = token_of(word),
      .generation = static_cast<std::uint32_t>(word >> 32),
      .has_sleepers = (word & kSleepers) != 0,
      .is_unrepaired = (word & kUnrepaired) != 0,
      .counts_contention = counts_contention_.load(relaxed) != 0,
      .holder_pid = holder_pid_.load(relaxed),
      .holder_start_time_ticks = holder_start_time_ticks_.load(relaxed),
      .waits = waits_.load(relaxed),
      .total_wait_ns = total_wait_ns_.load(relaxed),
      .longest_wait_ns = longest_wait_ns_.load(relaxed),
      .longest_wait_pid = longest_wait_pid_.load(relaxed),
      .owner_deaths = owner_deaths_.load(relaxed),
  };
}

Result<void> RobustMutex::check() const {
  const std::uint64_t word = word_.load(std::memory_order_relaxed);
  if (is_possible(word)) return {};
  return impossible(word);
}

}  // namespace strata::inline v0_1
