// An RwLock admits many readers, or one writer. It survives the death of either.
//   Threads:  any thread of any attached process. Not recursive; a reader cannot become a writer.
//   Lifetime: the segment must stay mapped; never copied or moved. Zeroed bytes are unlocked.
//   Errors:   timed_out, with the token of who is in the way, described in full after a wait of
//             1 s or more; not_ready for readers where a writer died and nobody has repaired: lock
//             exclusively, which gives Acquired::owner_died, and repair; corrupt;
//             failed_precondition as for RobustMutex.
//   Cost:     readers: one compare-and-swap and one exchange on a line that they share with seven
//             others at most. Writers: a RobustMutex and a look at every reader's seat. A poll
//             that fails (a deadline of now): tens of ns, as for RobustMutex.
//   Persists: no. A new generation starts unlocked.
// Writers are not starved: from the moment one holds the mutex, new readers wait. Writers that
// come without a pause can starve readers. A dead reader is noticed by the writer that waits for
// it.
#pragma once

#include <array>
#include <cstdint>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/sync/robust_mutex.h"
#include "strata/sync/seat.h"
#include "strata/sync/wake_word.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class alignas(8) RwLock {
 public:
  static constexpr std::uint32_t kMaxReaders = 112;  // at the same time; the next one waits

  struct ReadHold {
    std::uint32_t seat;
  };

  RwLock() = default;
  RwLock(const RwLock&) = delete;
  RwLock& operator=(const RwLock&) = delete;

  Result<ReadHold> lock_shared(const SyncContext& context, Deadline deadline);
  Result<void> unlock_shared(const SyncContext& context, ReadHold hold);

  Result<Acquired> lock(const SyncContext& context, Deadline deadline);
  Result<void> mark_repaired(const SyncContext& context) { return writer_.mark_repaired(context); }
  Result<void> unlock(const SyncContext& context);

  // Of the writers' side; the contention it counts is theirs.
  RobustMutex& writer() { return writer_; }
  std::uint32_t readers(const SyncContext& context) const;
  Result<void> check() const { return writer_.check(); }

 private:
  static constexpr std::uint32_t kNone = ~0u;
  enum class Entry : std::uint8_t { got, wait, unrepaired, corrupt };

  Entry try_enter(const SyncContext& context, ReadHold& hold);
  std::uint32_t take_seat(const SyncContext& context);
  void leave_seat(const SyncContext& context, std::uint32_t seat);
  Result<ReadHold> poll_shared(const SyncContext& context);
  // Whether nobody reads now. Readers that died lose their seats.
  Result<void> poll_readers(const SyncContext& context);
  Result<void> drain(const SyncContext& context, Deadline deadline);
  std::uint32_t first_reader(const SyncContext& context) const;
  Unexpected no_entry(std::uint32_t writer) const;
  Unexpected read_by(std::uint32_t reader) const;
  Unexpected corrupt_seat(std::uint32_t seat) const;

  RobustMutex writer_;                          // 0
  WakeWord waiting_readers_;                    // 64
  WakeWord waiting_writer_;                     // 68
  std::array<std::uint64_t, 7> reserved_ = {};  // 72
  std::array<Seat, kMaxReaders> seats_;         // 128
};

static_assert(sizeof(RwLock) == 1024);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
