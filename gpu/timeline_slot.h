// What is done to one slot of a timeline page from the host, with no driver: claiming, signalling,
// looking, and letting go of those who wait for what never comes.
//
// A slot has one owner, who signals 1, 2, 3, … in one epoch. Where the owner dies, or a waiter's
// deadline passes, a waiter poisons the slot: it marks the claim, then stores a value that ends
// every wait. Whoever claims the slot next begins a new epoch.
//   Threads:  any thread of any process that maps the page.
//   Lifetime: the page stays mapped, the Owner alive.
//   Errors:   see each function. Arbitrary bytes in the page lead to errors, never to a signal that
//             nobody gave, as far as 64 random bits do not happen to be one, and never to a wait
//             beyond its deadline.
//   Cost:     a load or two; claiming and asking after an owner are system calls.
//   Persists: no. A process that is killed at any point leaves a slot that the next can claim.
#pragma once

#include <cstdint>
#include <string>

#include "gpu/timeline_page.h"
#include "os/os.h"
#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/sync/owner.h"

namespace strata::inline v0_1::cuda {

// What a slot says of the n-th signal of an epoch.
enum class Reading : std::uint8_t {
  pending,
  reached,
  owner_died,  // or has ended
  given_up,    // somebody's deadline passed
  taken_over,  // another epoch has begun
  corrupt,     // a value that the owner cannot have signalled
};

// One signal of one epoch, which somebody waits for.
struct AwaitedSignal {
  TimelineSlot* slot = nullptr;
  std::uint32_t epoch = 0;
  std::uint64_t number = 0;  // 1 to kMaxSignal

  std::uint64_t value() const { return first_value(epoch) + number; }
};

// Makes `owner` the owner of the slot in a new epoch, which it returns. Nothing is signalled yet.
// Errors: already_exists while a living owner has it, also where that is this process;
// failed_precondition in a forked child.
Result<std::uint32_t> claim_slot(TimelineSlot& slot, const Owner& owner);
// Whether the slot still is the owner's in this epoch.
// Errors: failed_precondition where a waiter has given it up, or it has another owner.
Result<void> check_claim(const TimelineSlot& slot, const Owner& owner, std::uint32_t epoch);
// The owner gives it back; those who wait for more are told that it has ended.
void end_claim(TimelineSlot& slot, const Owner& owner, std::uint32_t epoch);

Reading look(const AwaitedSignal& awaited);
// Whether the owner of the awaited epoch is known to be gone: dead, or at its end. Where the kernel
// cannot be asked, it is not.
bool is_owner_gone(const AwaitedSignal& awaited, const Owner& self);
// Ends the wait of every stream for this signal, by poison where the epoch still is that of the
// slot; `why` is owner_died or given_up. Does nothing where it has been signalled.
void let_go(const AwaitedSignal& awaited, SlotState why);

// Waits on this thread. A dead owner's slot is poisoned; a deadline that passes changes nothing.
// Errors: timed_out; failed_precondition where the owner died, a stream's deadline passed before,
// the slot has a new owner, or this process was forked; corrupt.
Result<void> wait_on_host(Os& os, const AwaitedSignal& awaited, const Owner& self,
                          Deadline deadline);

// The Status of a reading that is neither pending nor reached.
Status status_of(Reading reading, const AwaitedSignal& awaited);

}  // namespace strata::inline v0_1::cuda
