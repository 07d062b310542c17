#include "strata/sync/rw_lock.h"

#include <fmt/format.h>

#include "sync/thread_hint.h"

namespace strata::inline v0_1 {

std::uint32_t RwLock::take_seat(const SyncContext& context) {
  constexpr std::uint32_t kLines = kMaxReaders / 8;
  const std::uint32_t first = thread_hint(context.token());
  // One seat of each cache line in turn, so that a few readers have lines of their own.
  for (std::uint32_t i = 0; i < kMaxReaders; ++i) {
    const std::uint32_t seat = (first + i) % kLines * 8 + i / kLines;
    if (seats_[seat].take_free(context)) return seat;
  }
  return kNone;
}

void RwLock::leave_seat(const SyncContext& context, std::uint32_t seat) {
  seats_[seat].give_up(context);
  waiting_writer_.wake_all();
}

// A reader announces itself first and looks for a writer then; a writer takes the mutex first and
// looks for readers then. So one of the two sees the other.
RwLock::Entry RwLock::try_enter(const SyncContext& context, ReadHold& hold) {
  const auto look = [&] {
    const RobustMutex::Standing writer = writer_.look(context);
    if (!writer.is_possible) return Entry::corrupt;
    if (writer.token != 0) return Entry::wait;
    return writer.is_unrepaired ? Entry::unrepaired : Entry::got;
  };
  if (const Entry before = look(); before != Entry::got) return before;
  const std::uint32_t seat = take_seat(context);
  if (seat == kNone) return Entry::wait;
  if (const Entry after = look(); after != Entry::got) {
    leave_seat(context, seat);
    return after;
  }
  hold = {seat};
  return Entry::got;
}

Result<RwLock::ReadHold> RwLock::lock_shared(const SyncContext& context, Deadline deadline) {
  if (context.token() == 0) {
    return fail(Code::failed_precondition,
                "rw lock: a forked child has to attach to the segment anew");
  }
  ReadHold hold{};
  for (std::uint32_t spin = 0; spin <= context.spins(); ++spin) {
    if (try_enter(context, hold) == Entry::got) return hold;
    relax_cpu();
  }
  SlicedWait slices(deadline);
  bool ask = false;
  for (;;) {
    const std::uint32_t ticket = waiting_readers_.prepare();
    switch (try_enter(context, hold)) {
      case Entry::got: return hold;
      case Entry::unrepaired: return writer_died(context, 0);
      case Entry::corrupt: return unexpected(writer_.check().error().in("rw lock"));
      case Entry::wait: break;
    }
    const std::uint32_t writer = writer_.look(context).token;
    const bool expired = slices.expired();
    if ((ask || expired) && writer != 0 && context.is_dead(writer) &&
        writer_.look(context).token == writer) {
      return writer_died(context, writer);
    }
    if (expired) {
      return fail(Code::timed_out,
                  writer != 0
                      ? "rw lock: written by " + context.describe(writer)
                      : fmt::format("rw lock: all {} readers' seats are taken", kMaxReaders));
    }
    ask = waiting_readers_.sleep(ticket, slices);
  }
}

Result<void> RwLock::unlock_shared(const SyncContext& context, ReadHold hold) {
  if (hold.seat >= kMaxReaders || !seats_[hold.seat].is_mine(context)) {
    return fail(Code::failed_precondition,
                fmt::format("rw lock: seat {} is not held by this process", hold.seat));
  }
  leave_seat(context, hold.seat);
  return {};
}

Result<Acquired> RwLock::lock(const SyncContext& context, Deadline deadline) {
  const auto how = writer_.lock(context, deadline);
  if (!how) return unexpected(how.error().in("rw lock"));
  if (const auto drained = drain(context, deadline); !drained) {
    // A writer before us that died left the mutex unrepaired; that stays, as nobody repaired.
    STRATA_TRY(unlock(context));
    return unexpected(drained.error());
  }
  return *how;
}

Result<void> RwLock::unlock(const SyncContext& context) {
  STRATA_TRY(writer_.unlock(context));
  waiting_readers_.wake_all();
  return {};
}

// The first seat that is not free, or kNone.
std::uint32_t RwLock::first_reader(const SyncContext& context) const {
  for (std::uint32_t seat = 0; seat < kMaxReaders; ++seat) {
    if (seats_[seat].look(context) != Seat::State::free) return seat;
  }
  return kNone;
}

Result<void> RwLock::drain(const SyncContext& context, Deadline deadline) {
  for (std::uint32_t spin = 0; spin <= context.spins(); ++spin) {
    if (first_reader(context) == kNone) return {};
    relax_cpu();
  }
  SlicedWait slices(deadline);
  bool ask = false;
  for (;;) {
    const std::uint32_t ticket = waiting_writer_.prepare();
    const std::uint32_t reader = first_reader(context);
    if (reader == kNone) return {};
    if (seats_[reader].look(context) == Seat::State::corrupt) {
      return fail(Code::corrupt, fmt::format("rw lock: the word of seat {} is no state", reader));
    }
    const bool expired = slices.expired();
    // A dead reader has changed nothing: its seat is simply free again.
    if ((ask || expired) && seats_[reader].take_from_dead(context, Seat::Heir::nobody)) continue;
    if (expired) {
      return fail(Code::timed_out,
                  "rw lock: read by " + context.describe(seats_[reader].token(context)));
    }
    ask = waiting_writer_.sleep(ticket, slices);
  }
}

std::uint32_t RwLock::readers(const SyncContext& context) const {
  std::uint32_t count = 0;
  for (const Seat& seat : seats_)
    count += seat.look(context) == Seat::State::held ? 1 : 0;
  return count;
}

Unexpected RwLock::writer_died(const SyncContext& context, std::uint32_t token) const {
  const std::string who = token == 0 ? "a process" : context.describe(token);
  return fail(Code::not_ready,
              "rw lock: " + who + " died while it wrote: lock exclusively and repair");
}

}  // namespace strata::inline v0_1
