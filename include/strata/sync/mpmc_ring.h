// A ring between any number of producers and consumers, with messages written and read in place.
// It is lock-free: whoever is killed or stopped between any two steps blocks nobody.
//
//     auto loan = ring.loan(deadline);           auto message = ring.receive(deadline);
//     write(loan->bytes);                        read(message->bytes);
//     ring.publish(*loan, bytes);                ring.release(*message);
//
//   Threads:  one MpmcRing object per thread; any number of them, in any attached processes.
//   Lifetime: the segment must stay mapped.
//   Errors:   timed_out; failed_precondition in a forked child with its parent's context, or for
//             a slot that is not held; corrupt for words that no operation makes.
//   Cost:     loan and release: one compare-and-swap on a slot. publish: two, on an entry and the
//             tail. receive: three, on a slot, its entry and the head. A poll that fails (a
//             deadline of now): tens of ns where no message is there, or where each slot holds one;
//             a load for each slot where some are held. Slots of the dead come back to a poll
//             within 10 ms.
//   Persists: messages do. Slots that were held come back like those of killed processes.
// A loan or a message is held by the process: give back each that you got.
// Messages are received in the order in which they were published. Each is received once at most:
// a consumer killed between receive and release loses its one message, and a producer killed
// between loan and publish loses what it had not published. Slots of the dead come back when
// somebody waits for a slot.
//
// The algorithm: each slot has a word that says who holds it. A ring of entries names the
// published slots in order. An entry is filled by one compare-and-swap, which is the moment of
// publication; a message is received by one on its slot's word. All that comes after those two
// (emptying the entry, moving head and tail) any other process does as well as the one who began.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/sync/ring_layout.h"
#include "strata/sync/sync_context.h"
#include "strata/sync/wake_word.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// The word of a slot: bits 0-29 the holder's token, 30-31 the state, 32-63 a count of changes,
// so that a slot that went from hand to hand and back is not taken for one that stayed.
namespace mpmc_slot {
enum class State : std::uint32_t { free = 0, loaned = 1, received = 2 };
inline constexpr std::uint64_t make(std::uint32_t changes, State state, std::uint32_t token) {
  return std::uint64_t{changes} << 32 | std::uint64_t{static_cast<std::uint32_t>(state)} << 30 |
         token;
}
inline constexpr State state_of(std::uint64_t word) { return State((word >> 30) & 3); }
inline constexpr std::uint32_t token_of(std::uint64_t word) { return word & kMaxToken; }
inline constexpr std::uint64_t next(std::uint64_t word, State state, std::uint32_t token) {
  return make(static_cast<std::uint32_t>(word >> 32) + 1, state, token);
}
// Free with no holder, or held by somebody.
inline constexpr bool is_possible(std::uint64_t word) {
  return (state_of(word) == State::free) == (token_of(word) == 0) &&
         static_cast<std::uint32_t>(state_of(word)) <= 2;
}
}  // namespace mpmc_slot

// An entry: bits 0-19 a slot, bit 20 whether it is filled, 21-63 the position it is for.
namespace mpmc_entry {
inline constexpr std::uint64_t kFilled = std::uint64_t{1} << 20;
// Positions are compared by their low 43 bits: that is 2^43 messages before one is taken for
// another.
inline constexpr std::uint64_t awaiting(std::uint64_t position) { return position << 21; }
inline constexpr std::uint64_t filled(std::uint64_t position, std::uint32_t slot) {
  return position << 21 | kFilled | slot;
}
inline constexpr bool is_filled(std::uint64_t entry) { return (entry & kFilled) != 0; }
inline constexpr std::uint64_t position_of(std::uint64_t entry) { return entry >> 21; }
inline constexpr bool is_for(std::uint64_t entry, std::uint64_t position) {
  return (entry ^ position << 21) >> 21 == 0;
}
inline constexpr bool is_filled_for(std::uint64_t entry, std::uint64_t position) {
  return is_filled(entry) && is_for(entry, position);
}
inline constexpr std::uint32_t slot_of(std::uint64_t entry) { return entry & (kMaxRingSlots - 1); }
}  // namespace mpmc_entry

struct MpmcSlot {
  SharedWord<std::uint64_t> word;  // mpmc_slot
  SharedWord<std::uint32_t> message_bytes;
  std::uint32_t reserved;
};
static_assert(sizeof(MpmcSlot) == 16);

struct MpmcBlock {
  RingHeader header;  // 0
  struct alignas(64) Side {
    SharedWord<std::uint64_t> position;
    WakeWord sleepers;
    std::uint32_t reserved[13];
  };
  Side tail;  // 64: the next position to fill; consumers sleep here
  Side head;  // 128: the next position to take; those who wait for a slot sleep here
};
static_assert(sizeof(MpmcBlock) == 192);

Result<std::uint64_t> mpmc_ring_bytes(const RingOptions& options);
Result<void> format_mpmc_ring(std::span<std::byte> bytes, const RingOptions& options);

class MpmcRing {
 public:
  struct Loan {
    std::span<std::byte> bytes;  // max_message_bytes(), aligned to 16
    std::uint32_t slot;
    std::uint64_t word;
  };
  struct Message {
    std::span<const std::byte> bytes;
    std::uint32_t slot;
    std::uint64_t word;
  };

  static Result<MpmcRing> open(std::span<std::byte> bytes, const SyncContext& context);

  std::uint32_t max_message_bytes() const { return geometry_.message_bytes; }
  std::uint32_t slots() const { return geometry_.slots; }
  // Messages that waited to be received at some moment during the call.
  std::uint64_t size() const;

  Result<Loan> loan(Deadline deadline);
  // The loan is used up, unless this fails with invalid_argument.
  Result<void> publish(Loan& loan, std::size_t message_bytes);
  // Gives a loan back unpublished.
  Result<void> abandon(Loan& loan);
  Result<void> send(std::span<const std::byte> message, Deadline deadline);

  Result<Message> receive(Deadline deadline);
  Result<void> release(Message& message);

  // Takes slots back from processes that died; how many. Done by loan() where it has to wait.
  std::uint32_t reclaim();
  // corrupt where a word is in no state that an operation makes. For a ring that nobody uses now.
  Result<void> check() const;

 private:
  MpmcRing(std::span<std::byte> bytes, const RingGeometry& geometry, const SyncContext& context);

  enum class Step : std::uint8_t { done, again, nothing };
  SharedWord<std::uint64_t>& entry(std::uint64_t position) const {
    return entries_[position & (geometry_.slots - 1)];
  }
  MpmcSlot& slot(std::uint32_t index) const {
    return *reinterpret_cast<MpmcSlot*>(slots_ + index * geometry_.stride_bytes);
  }
  bool try_loan(Loan& loan);
  Result<Loan> poll_loan();
  bool is_full() const;
  template <typename IsDead>
  std::uint32_t reclaim_from(IsDead is_dead);
  Unexpected none_free() const;
  Step try_publish(std::uint32_t slot);
  Step try_receive(Message& message);
  Step take(std::uint64_t head, std::uint64_t seen, Message& message);
  void empty_entry(std::uint64_t seen);
  void move_on(SharedWord<std::uint64_t>& from, std::uint64_t position);
  std::uint64_t find_entry(std::uint32_t slot) const;  // 0: none names it
  bool reclaim_slot(std::uint32_t slot, std::uint64_t word);
  Result<void> give_back(std::uint32_t slot, std::uint64_t word, mpmc_slot::State held_as);
  Unexpected stuck(const char* what) const;

  MpmcBlock* block_;
  SharedWord<std::uint64_t>* entries_;
  std::byte* slots_;
  RingGeometry geometry_;
  SyncContext context_;
  std::uint32_t hint_ = 0;         // where the next free slot probably is
  std::uint64_t searched_ns_ = 0;  // when a poll last looked at every slot, by the coarse clock
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
