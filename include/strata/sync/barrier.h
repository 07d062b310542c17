// A Barrier lets a fixed number of participants wait for each other, phase after phase. When one
// of them dies before it arrives, the others are told instead of waiting for ever.
//   Threads:  any thread of any attached process; each has joined and uses its own seat.
//   Lifetime: the segment must stay mapped; never copied or moved. Made by its constructor.
//   Errors:   failed_precondition, with the token of the participant that died; timed_out, with
//             that of one that has not arrived, described in full after a wait of 1 s, or with how
//             many never joined; exhausted; corrupt.
//   Cost:     one store and a look at every seat; the last one wakes the others. A poll that fails
//             (a deadline of now): one or two more such looks.
//   Persists: no. A new generation starts with empty seats.
// Whether a phase is complete follows from the seats alone: no count can be left wrong by a
// participant that is killed in the middle, and any of those who wait completes the phase.
#pragma once

#include <array>
#include <cstdint>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/sync/seat.h"
#include "strata/sync/wake_word.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class alignas(8) Barrier {
 public:
  static constexpr std::uint32_t kMaxParticipants = 62;

  // The phase that a participant has arrived at.
  struct Arrival {
    std::uint32_t seat;
    std::uint32_t phase;
  };

  // 1 to kMaxParticipants.
  explicit Barrier(std::uint32_t participants) : participants_(participants) {}
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;

  // Takes a seat: a free one, or that of a participant that died, whose arrival is kept.
  // exhausted where every seat is held by a live participant.
  Result<std::uint32_t> join(const SyncContext& context);
  // The others would wait for this seat until somebody joins in its place.
  Result<void> leave(const SyncContext& context, std::uint32_t seat);

  Result<Arrival> arrive(const SyncContext& context, std::uint32_t seat);
  // Returns once all have arrived. After timed_out or failed_precondition the arrival stands:
  // wait again with it, perhaps once another process has joined in the dead one's place.
  Result<void> wait(const SyncContext& context, Arrival arrival, Deadline deadline);
  Result<void> arrive_and_wait(const SyncContext& context, std::uint32_t seat, Deadline deadline);

  Result<void> check() const;

 private:
  struct Place {
    Seat seat;
    SharedWord<std::uint64_t> arrived;  // generation, and the phase after that arrived at
  };

  std::uint64_t phase_word(const SyncContext& context) const;
  bool has_arrived(const SyncContext& context, std::uint32_t seat, std::uint32_t phase) const;
  bool try_complete(const SyncContext& context, std::uint32_t phase);
  enum class Asking : std::uint8_t { always, as_polls };
  Result<void> find_dead(const SyncContext& context, std::uint32_t phase, Asking asking) const;
  enum class Describe : std::uint8_t { by_token, in_full };
  Unexpected late(const SyncContext& context, std::uint32_t phase, Describe how) const;
  std::uint32_t seats() const;

  SharedWord<std::uint64_t> phase_;             // 0: generation and phase
  SharedWord<std::uint32_t> participants_;      // 8
  WakeWord sleepers_;                           // 12
  std::array<std::uint64_t, 2> reserved_ = {};  // 16
  std::array<Place, kMaxParticipants> places_;  // 32
};

static_assert(sizeof(Barrier) == 1024);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
