// A Seat is one place among several that processes take: a reader of an RwLock, a permit of a
// Semaphore. It carries its holder's token, so that it is taken back from a holder that died.
//   Threads:  any thread of any attached process.
//   Errors:   corrupt (impossible) words are told apart and never taken.
//   Persists: no. A seat of another generation is free.
#pragma once

#include <cstdint>

#include "strata/sync/lock_word.h"
#include "strata/sync/shared_word.h"
#include "strata/sync/sync_context.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class Seat {
 public:
  enum class State : std::uint8_t { free, held, corrupt };

  State look(const SyncContext& context) const {
    return state_of(word_.load(std::memory_order_seq_cst), context);
  }
  // Of its holder; 0 where it is free.
  std::uint32_t token(const SyncContext& context) const {
    const std::uint64_t word = word_.load(std::memory_order_relaxed);
    return lock_word::is_of(word, context.generation_bits()) ? lock_word::token_of(word) : 0;
  }
  bool is_mine(const SyncContext& context) const {
    return context.token() != 0 && word_.load(std::memory_order_relaxed) == mine(context);
  }

  bool take_free(const SyncContext& context) {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    return state_of(word, context) == State::free &&
           word_.compare_exchange(word, mine(context), std::memory_order_seq_cst);
  }
  // Puts `to` in the place of a holder that is dead: the caller, or nobody.
  enum class Heir : std::uint8_t { caller, nobody };
  bool take_from_dead(const SyncContext& context, Heir to) {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    if (state_of(word, context) != State::held || !context.is_dead(lock_word::token_of(word))) {
      return false;
    }
    const std::uint64_t next = to == Heir::caller ? mine(context) : context.generation_bits();
    return word_.compare_exchange(word, next, std::memory_order_seq_cst);
  }
  // Only by its holder.
  void give_up(const SyncContext& context) {
    word_.exchange(context.generation_bits(), std::memory_order_seq_cst);
  }

 private:
  static std::uint64_t mine(const SyncContext& context) {
    return context.generation_bits() | context.token();
  }
  static State state_of(std::uint64_t word, const SyncContext& context) {
    if (!lock_word::is_of(word, context.generation_bits())) return State::free;
    if ((word & (lock_word::kSleepers | lock_word::kUnrepaired)) != 0) return State::corrupt;
    return lock_word::token_of(word) == 0 ? State::free : State::held;
  }

  SharedWord<std::uint64_t> word_;
};

static_assert(sizeof(Seat) == 8);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
