// A RobustMutex is a lock placed inside a segment. It survives a holder that crashes.
//   Threads:  any thread of any attached process. Not recursive.
//   Lifetime: the segment must stay mapped; never copied or moved. Zeroed bytes are unlocked.
//   Errors:   timed_out, with the holder's token and pid, and described in full after a wait of
//             1 s or more; corrupt for a word that no lock operation makes;
//             failed_precondition in a forked child with its parent's context. In each case
//             the lock is not held. Acquired::owner_died means that you hold it and must repair.
//   Cost:     one compare-and-swap to lock and one exchange to unlock when free; else a bounded
//             spin, then a futex call. A dead holder is noticed within a slice (1 to 32 ms).
//             A poll that fails (try_lock, or a deadline of now) takes tens of ns: it neither
//             spins nor allocates, and asks the kernel whether the holder lives at most once in
//             1 to 10 ms. So a dead holder is noticed by the first poll after its death, or by one
//             some ms later where a poll before had found it alive.
//   Persists: no. A new generation starts unlocked.
// docs/format/sync.md is the contract of its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/sync/lock_word.h"
#include "strata/sync/shared_word.h"
#include "strata/sync/sync_context.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// What the tools show of a lock. A snapshot: each word is right, together they may not be.
struct LockReport {
  std::uint32_t token;  // 0: free
  std::uint32_t generation;
  bool has_sleepers;
  bool is_unrepaired;
  bool counts_contention;
  std::uint32_t holder_pid;  // of the last holder; for messages
  std::uint64_t holder_start_time_ticks;
  // Counted only while statistics are on.
  std::uint64_t waits;
  std::uint64_t total_wait_ns;
  std::uint64_t longest_wait_ns;
  std::uint32_t longest_wait_pid;  // whom the longest wait was for
  std::uint64_t owner_deaths;
};

class alignas(8) RobustMutex {
 public:
  class Guard;

  RobustMutex() = default;
  RobustMutex(const RobustMutex&) = delete;
  RobustMutex& operator=(const RobustMutex&) = delete;

  Result<Acquired> lock(const SyncContext& context, Deadline deadline) {
    if (take_free(context)) return Acquired::clean;
    return lock_slowly(context, deadline);
  }
  // The same, `timeout_ms` from now: the clock is read only if there is something to wait for.
  Result<Acquired> lock_for_ms(const SyncContext& context, std::uint64_t timeout_ms) {
    if (take_free(context)) return Acquired::clean;
    return lock_slowly(context, Deadline::after_ms(timeout_ms));
  }
  // A poll. timed_out where it is held by a live process.
  Result<Acquired> try_lock(const SyncContext& context) {
    // Looks before it tries: a compare-and-swap takes the cache line away from the holder.
    if (lock_word::token_of(word_.load(std::memory_order_relaxed)) == 0 && take_free(context)) {
      return Acquired::clean;
    }
    return lock_slowly(context, Deadline::now());
  }

  // failed_precondition, and nothing changed, where this process does not hold it.
  Result<void> unlock(const SyncContext& context) {
    const std::uint64_t held = word_.load(std::memory_order_relaxed);
    if (!is_mine(held, context)) return not_mine(context, held);
    // kSleepers may come meanwhile, kUnrepaired changes at the holder's hand alone. The sleepers
    // are told by the exchange itself: a store could overwrite one that came after the load.
    const std::uint64_t last = word_.exchange(
        held & (lock_word::kGenerationMask | lock_word::kUnrepaired), std::memory_order_release);
    if ((last & lock_word::kSleepers) != 0) wake_one();
    return {};
  }

  // After Acquired::owner_died: what the lock guards is whole again. Same errors as unlock.
  Result<void> mark_repaired(const SyncContext& context);

  bool is_held_by(const SyncContext& context) const {
    return is_mine(word_.load(std::memory_order_relaxed), context);
  }

  // Who holds it, as far as the lock knows: nobody, or the process of a token. `pid` and
  // `start_time_ticks` are the last that were noted, and for the first moments of a new holder
  // those of the one before.
  struct HolderNote {
    std::uint32_t token;
    std::uint32_t pid;
    std::uint64_t start_time_ticks;  // since boot, as in /proc/PID/stat
  };
  std::optional<HolderNote> holder(const SyncContext& context) const;
  // "nobody", or "token 7: pid 4711 (worker) (noted in the lock: …)". It looks through /proc, which
  // takes some ms: for messages that somebody asked for.
  std::string describe_holder(const SyncContext& context) const;

  // Who holds it in this generation, and whether it waits for repair. For primitives that are
  // built on this one, and whose other parties do not take it.
  struct Standing {
    std::uint32_t token;  // 0: free
    bool is_unrepaired;
    bool is_possible;  // false: corrupt
  };
  Standing look(const SyncContext& context) const {
    const std::uint64_t word = word_.load(std::memory_order_seq_cst);
    if (!lock_word::is_of(word, context.generation_bits())) return {0, false, true};
    return {lock_word::token_of(word), (word & lock_word::kUnrepaired) != 0,
            lock_word::is_possible(word)};
  }

  // Statistics are off in a new lock. Any process may switch them, at any time.
  void count_contention() { counts_contention_.store(1, std::memory_order_relaxed); }
  void stop_counting() { counts_contention_.store(0, std::memory_order_relaxed); }
  LockReport report() const;
  // corrupt for a word that no lock operation makes.
  Result<void> check() const;

 private:
  static bool is_mine(std::uint64_t word, const SyncContext& context) {
    const std::uint32_t token = context.token();
    return token != 0 && (word & ~(lock_word::kSleepers | lock_word::kUnrepaired)) ==
                             (context.generation_bits() | token);
  }
  bool take_free(const SyncContext& context) {
    const std::uint32_t token = context.token();
    std::uint64_t free = context.generation_bits();
    if (token == 0 || !word_.compare_exchange(free, free | token, std::memory_order_acquire)) {
      return false;
    }
    note_holder(context);
    return true;
  }
  void note_holder(const SyncContext& context) {
    holder_pid_.store(static_cast<std::uint32_t>(context.owner().pid()), std::memory_order_relaxed);
    holder_start_time_ticks_.store(context.owner().start_time_ticks(), std::memory_order_relaxed);
  }
  enum class Take : std::uint8_t { got_clean, got_owner_died, held, corrupt };
  Take try_take(const SyncContext& context, std::uint64_t& word, std::uint64_t also);
  Take take_from_dead(const SyncContext& context, std::uint64_t word);
  Result<Acquired> lock_slowly(const SyncContext& context, Deadline deadline);
  Result<Acquired> poll(const SyncContext& context);
  Result<Acquired> wait_and_lock(const SyncContext& context, Deadline deadline);
  void count_wait(std::uint64_t waited_ns, std::uint32_t for_pid);
  void wake_one();
  Unexpected not_mine(const SyncContext& context, std::uint64_t word) const;
  Unexpected impossible(std::uint64_t word) const;
  Unexpected held(std::uint64_t word) const;
  std::string describe(const SyncContext& context, std::uint64_t word) const;

  SharedWord<std::uint64_t> word_;                     // 0: see lock_word.h
  SharedWord<std::uint64_t> holder_start_time_ticks_;  // 8
  SharedWord<std::uint32_t> holder_pid_;               // 16
  SharedWord<std::uint32_t> counts_contention_;        // 20: 1 where statistics are on
  SharedWord<std::uint64_t> waits_;                    // 24
  SharedWord<std::uint64_t> total_wait_ns_;            // 32
  SharedWord<std::uint64_t> longest_wait_ns_;          // 40
  SharedWord<std::uint32_t> longest_wait_pid_;         // 48
  std::uint32_t reserved_ = 0;                         // 52
  SharedWord<std::uint64_t> owner_deaths_;             // 56

  friend struct RobustMutexLayout;
};

struct RobustMutexLayout {
  static_assert(sizeof(RobustMutex) == 64);
  static_assert(offsetof(RobustMutex, holder_start_time_ticks_) == 8);
  static_assert(offsetof(RobustMutex, counts_contention_) == 20);
  static_assert(offsetof(RobustMutex, longest_wait_ns_) == 40);
  static_assert(offsetof(RobustMutex, owner_deaths_) == 56);
};

// Holds a RobustMutex for a scope.
class RobustMutex::Guard {
 public:
  // Same errors as lock.
  static Result<Guard> lock(RobustMutex& mutex, const SyncContext& context, Deadline deadline) {
    STRATA_ASSIGN(const Acquired how, mutex.lock(context, deadline));
    return Guard(mutex, context, how);
  }
  Guard(Guard&& other) noexcept : mutex_(other.mutex_), context_(other.context_), how_(other.how_) {
    other.mutex_ = nullptr;
  }
  Guard& operator=(Guard&&) = delete;
  ~Guard() {
    if (mutex_ != nullptr) (void)mutex_->unlock(*context_);
  }

  bool owner_died() const { return how_ == Acquired::owner_died; }
  Result<void> mark_repaired() { return mutex_->mark_repaired(*context_); }

 private:
  Guard(RobustMutex& mutex, const SyncContext& context, Acquired how)
      : mutex_(&mutex), context_(&context), how_(how) {}

  RobustMutex* mutex_;
  const SyncContext* context_;
  Acquired how_;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
