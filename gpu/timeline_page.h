// The timeline page of a device segment: 64 words that streams and processes wait for. It is host
// memory, the second page of the header's file; docs/format/timeline.md is its contract.
//   Threads:  any thread of any process that maps it, and any device that it is registered with.
//   Lifetime: that of the mapping. Zeroed bytes are slots that nobody has claimed yet.
//   Errors:   none here. Every byte is hostile: nothing is indexed or followed by what stands in
//             it.
//   Persists: no.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "strata/sync/owner.h"
#include "strata/sync/shared_word.h"

namespace strata::inline v0_1::cuda {

inline constexpr std::uint64_t kTimelineBytes = 4096;
inline constexpr unsigned kTimelineSlots = 64;

// Signals count from 1 to this within one epoch of a slot.
inline constexpr unsigned kEpochShift = 44;
inline constexpr std::uint64_t kMaxSignal = (std::uint64_t{1} << kEpochShift) - 1;

enum class SlotState : std::uint8_t {
  live = 0,        // its owner signals; with token 0: nobody has claimed it, or its owner has ended
  starting = 1,    // being taken over: `value` is not yet of this epoch
  owner_died = 2,  // poisoned by a waiter: the owner is dead
  given_up = 3,    // poisoned by a waiter: its deadline passed
};

// The claim word, taken apart. The owner's token is bits 0 to 29, the state 30 and 31, the epoch
// the rest.
struct SlotClaim {
  std::uint32_t token = 0;
  SlotState state = SlotState::live;
  std::uint32_t epoch = 0;

  static constexpr SlotClaim of(std::uint64_t word) {
    return {.token = static_cast<std::uint32_t>(word) & kMaxToken,
            .state = static_cast<SlotState>(word >> 30 & 3),
            .epoch = static_cast<std::uint32_t>(word >> 32)};
  }
  constexpr std::uint64_t word() const {
    return std::uint64_t{epoch} << 32 | std::uint64_t{static_cast<std::uint8_t>(state)} << 30 |
           token;
  }
  constexpr bool is_poisoned() const {
    return state == SlotState::owner_died || state == SlotState::given_up;
  }
};

struct TimelineSlot {
  SharedWord<std::uint64_t> value;      // 0: what streams write, and wait for
  SharedWord<std::uint64_t> claim;      // 8: SlotClaim
  SharedWord<std::uint64_t> reached;    // 16: `value` as it was before the poison or the take-over
  SharedWord<std::uint32_t> owner_pid;  // 24: for messages
  std::array<std::uint8_t, 36> reserved;
};
static_assert(sizeof(TimelineSlot) == 64);
static_assert(offsetof(TimelineSlot, claim) == 8 && offsetof(TimelineSlot, reached) == 16);
static_assert(offsetof(TimelineSlot, owner_pid) == 24);

struct TimelinePage {
  std::array<TimelineSlot, kTimelineSlots> slots;
};
static_assert(sizeof(TimelinePage) == kTimelineBytes);

// Each epoch has values of its own, above those of the one before: what an old owner's streams
// write late wakes nobody who waits for the new one. Epochs come round after 2^20.
constexpr std::uint64_t first_value(std::uint32_t epoch) {
  return std::uint64_t{epoch} << kEpochShift;
}
// What a poisoned slot holds: at or above whatever anybody waits for in this epoch.
constexpr std::uint64_t poison_value(std::uint32_t epoch) {
  return first_value(epoch) + (std::uint64_t{1} << 62);
}
// As the hardware compares, cyclic (cuStreamWaitValue64, GEQ).
constexpr bool has_passed(std::uint64_t value, std::uint64_t target) {
  return static_cast<std::int64_t>(value - target) >= 0;
}
// Whether `value` is one that the owner of the epoch can have signalled.
constexpr bool is_of_epoch(std::uint64_t value, std::uint32_t epoch) {
  return value - first_value(epoch) <= kMaxSignal;
}
// Near enough for has_passed() to hold between the poison of the one and the first value of the
// other.
constexpr bool is_later(std::uint32_t epoch, std::uint32_t than) {
  constexpr std::uint32_t kEpochs = 1u << (64 - kEpochShift);
  const std::uint32_t distance = (epoch - than) % kEpochs;
  return distance > 0 && distance < kEpochs / 4;
}

}  // namespace strata::inline v0_1::cuda
