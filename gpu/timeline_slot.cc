#include "gpu/timeline_slot.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "gpu/poll.h"

namespace strata::inline v0_1::cuda {
namespace {

// Others change a slot a few times in its life: whoever loses more races than these meets somebody
// who scribbles.
constexpr int kMaxTries = 64;
constexpr std::uint64_t kLivenessNs = 5'000'000;

Status no_participant() {
  return Status(Code::failed_precondition,
                "this process was forked after it opened the timeline: open the segment and its "
                "timeline anew");
}

std::string owner_text(const TimelineSlot& slot) {
  return fmt::format("pid {}", slot.owner_pid.load(std::memory_order_relaxed));
}

// Keeps how far the epoch came, for those who ask when it is over.
void record_reached(TimelineSlot& slot, std::uint32_t epoch, std::uint64_t value) {
  if (is_of_epoch(value, epoch)) slot.reached.store(value, std::memory_order_release);
}

bool was_reached(const AwaitedSignal& awaited, std::uint64_t value) {
  return is_of_epoch(value, awaited.epoch) && has_passed(value, awaited.value());
}

}  // namespace

Result<std::uint32_t> claim_slot(TimelineSlot& slot, const Owner& owner) {
  const std::uint32_t token = owner.token();
  if (token == 0) return unexpected(no_participant());
  for (int i = 0; i < kMaxTries; ++i) {
    std::uint64_t word = slot.claim.load(std::memory_order_acquire);
    const SlotClaim before = SlotClaim::of(word);
    if (before.token != 0 && !before.is_poisoned()) {
      STRATA_ASSIGN(const bool is_alive, owner.is_alive(before.token));
      if (is_alive) {
        return fail(Code::already_exists,
                    fmt::format("it has a living owner ({})", owner_text(slot)));
      }
    }
    // A waiter that poisoned it has done this already.
    if (!before.is_poisoned()) {
      record_reached(slot, before.epoch, slot.value.load(std::memory_order_acquire));
    }
    const SlotClaim mine{token, SlotState::starting, before.epoch + 1};
    if (!slot.claim.compare_exchange(word, mine.word(), std::memory_order_seq_cst)) continue;
    slot.owner_pid.store(static_cast<std::uint32_t>(owner.pid()), std::memory_order_relaxed);
    // This ends the waits of the epochs before as well.
    slot.value.store(first_value(mine.epoch), std::memory_order_seq_cst);
    // Live last: whoever follows a live epoch finds its value there.
    word = mine.word();
    const SlotClaim live{token, SlotState::live, mine.epoch};
    if (slot.claim.compare_exchange(word, live.word(), std::memory_order_seq_cst))
      return mine.epoch;
  }
  return fail(Code::corrupt, "it changes without pause: something scribbles on the timeline page");
}

Result<void> check_claim(const TimelineSlot& slot, const Owner& owner, std::uint32_t epoch) {
  if (owner.token() == 0) return unexpected(no_participant());
  const SlotClaim now = SlotClaim::of(slot.claim.load(std::memory_order_acquire));
  if (now.token == owner.token() && now.epoch == epoch && now.state == SlotState::live) return {};
  if (now.epoch == epoch && now.state == SlotState::given_up) {
    return fail(Code::failed_precondition,
                "a waiter has given it up, as its deadline passed: claim the slot anew");
  }
  return fail(Code::failed_precondition,
              fmt::format("it is no longer this owner's: {} has it in epoch {}", owner_text(slot),
                          now.epoch));
}

void end_claim(TimelineSlot& slot, const Owner& owner, std::uint32_t epoch) {
  if (owner.token() == 0) return;
  std::uint64_t mine = SlotClaim{owner.token(), SlotState::live, epoch}.word();
  (void)slot.claim.compare_exchange(mine, SlotClaim{0, SlotState::live, epoch}.word(),
                                    std::memory_order_seq_cst);
}

Reading look(const AwaitedSignal& awaited) {
  const TimelineSlot& slot = *awaited.slot;
  // The value first. A poison is marked in the claim before it is stored, so that a claim which is
  // read after it tells what the value means.
  const std::uint64_t value = slot.value.load(std::memory_order_seq_cst);
  if (was_reached(awaited, value)) return Reading::reached;
  const SlotClaim now = SlotClaim::of(slot.claim.load(std::memory_order_seq_cst));
  if (now.epoch != awaited.epoch || now.is_poisoned()) {
    if (was_reached(awaited, slot.reached.load(std::memory_order_acquire))) return Reading::reached;
    if (now.epoch != awaited.epoch) return Reading::taken_over;
    return now.state == SlotState::owner_died ? Reading::owner_died : Reading::given_up;
  }
  // It may have been signalled, and ended, since the value was read.
  if (now.token == 0) {
    return was_reached(awaited, slot.value.load(std::memory_order_seq_cst)) ? Reading::reached
                                                                            : Reading::owner_died;
  }
  // Behind: not yet, or what an earlier owner's streams wrote late.
  return has_passed(value, awaited.value()) ? Reading::corrupt : Reading::pending;
}

bool is_owner_gone(const AwaitedSignal& awaited, const Owner& self) {
  const SlotClaim now = SlotClaim::of(awaited.slot->claim.load(std::memory_order_acquire));
  if (now.epoch != awaited.epoch || now.is_poisoned()) return false;
  if (now.token == 0) return true;
  const Result<bool> is_alive = self.is_alive(now.token);
  return is_alive && !*is_alive;
}

void let_go(const AwaitedSignal& awaited, SlotState why) {
  TimelineSlot& slot = *awaited.slot;
  for (int i = 0; i < kMaxTries; ++i) {
    std::uint64_t word = slot.claim.load(std::memory_order_seq_cst);
    std::uint64_t value = slot.value.load(std::memory_order_seq_cst);
    if (has_passed(value, awaited.value())) return;
    SlotClaim now = SlotClaim::of(word);
    if (now.epoch == awaited.epoch && !now.is_poisoned()) {
      record_reached(slot, now.epoch, value);
      now.state = why;
      if (!slot.claim.compare_exchange(word, now.word(), std::memory_order_seq_cst)) continue;
      word = now.word();
    }
    // Nothing that would end the waits of a later epoch, where there is one: its first value ends
    // those of the epochs before, and an old owner's stream has written over it.
    std::uint64_t end = poison_value(awaited.epoch);
    if (is_later(now.epoch, awaited.epoch)) {
      end = now.is_poisoned() ? poison_value(now.epoch) : first_value(now.epoch);
    }
    // Only in place of the value that was judged: by now a new epoch may have begun.
    if (slot.claim.load(std::memory_order_seq_cst) != word) continue;
    if (slot.value.compare_exchange(value, end, std::memory_order_seq_cst)) return;
  }
}

Result<void> wait_on_host(Os& os, const AwaitedSignal& awaited, const Owner& self,
                          Deadline deadline) {
  if (self.token() == 0) return unexpected(no_participant());
  Poll poll(os, deadline);
  std::uint64_t ask_at_ns = monotonic_ns() + kLivenessNs;
  while (true) {
    const bool is_last = poll.expired();
    Reading reading = look(awaited);
    if (reading == Reading::pending && (is_last || monotonic_ns() >= ask_at_ns)) {
      ask_at_ns = monotonic_ns() + kLivenessNs;
      if (is_owner_gone(awaited, self)) {
        let_go(awaited, SlotState::owner_died);
        reading = look(awaited);
      }
    }
    if (reading == Reading::reached) return {};
    if (reading != Reading::pending) return unexpected(status_of(reading, awaited));
    if (is_last) {
      const std::uint64_t value = awaited.slot->value.load(std::memory_order_relaxed);
      return fail(
          Code::timed_out,
          fmt::format("its owner ({}) is at {}", owner_text(*awaited.slot),
                      is_of_epoch(value, awaited.epoch) ? value - first_value(awaited.epoch) : 0));
    }
    poll.pause();
  }
}

Status status_of(Reading reading, const AwaitedSignal& awaited) {
  const std::string owner = owner_text(*awaited.slot);
  switch (reading) {
    case Reading::owner_died:
      return Status(Code::failed_precondition,
                    fmt::format("its owner ({}) ended or died before it signalled: what was to be "
                                "ready is not; let another process claim the slot",
                                owner));
    case Reading::given_up:
      return Status(Code::timed_out,
                    fmt::format("the deadline of a waiting stream passed before its owner ({}) "
                                "signalled, and the slot is given up: let its owner claim it anew",
                                owner));
    case Reading::taken_over:
      return Status(Code::failed_precondition,
                    fmt::format("the slot was claimed anew ({}) before it was signalled: follow "
                                "it anew",
                                owner));
    default:
      return Status(Code::corrupt,
                    fmt::format("the slot holds {:#x}, which its owner cannot have signalled: "
                                "something scribbles on the timeline page",
                                awaited.slot->value.load(std::memory_order_relaxed)));
  }
}

}  // namespace strata::inline v0_1::cuda
