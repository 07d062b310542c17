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

namespace {

// `token` is that of the writer, or 0 where it left the lock unrepaired and nobody knows it any
// more.
Unexpected writer_died(std::uint32_t token) {
  return fail(Code::not_ready,
              token == 0 ? LateMessage{"rw lock: a process died while it wrote: lock exclusively "
                                       "and repair"}
                         : LateMessage{"rw lock: the process of token {} died while it wrote: lock "
                                       "exclusively and repair",
                                       {token}});
}

}  // namespace

// `writer` is 0 where none is in the way.
Unexpected RwLock::no_entry(std::uint32_t writer) const {
  if (writer != 0) {
    return fail(Code::timed_out, LateMessage{"rw lock: written by token {}", {writer}});
  }
  return fail(Code::timed_out,
              LateMessage{"rw lock: all {} readers' seats are taken", {kMaxReaders}});
}

Unexpected RwLock::read_by(std::uint32_t reader) const {
  return fail(Code::timed_out, LateMessage{"rw lock: read by token {}", {reader}});
}

Unexpected RwLock::corrupt_seat(std::uint32_t seat) const {
  return fail(Code::corrupt, LateMessage{"rw lock: the word of seat {} is no state", {seat}});
}

Result<RwLock::ReadHold> RwLock::poll_shared(const SyncContext& context) {
  ReadHold hold{};
  switch (try_enter(context, hold)) {
    case Entry::got: return hold;
    case Entry::unrepaired: return writer_died(0);
    case Entry::corrupt: return unexpected(writer_.check().error().in("rw lock"));
    case Entry::wait: break;
  }
  const std::uint32_t writer = writer_.look(context).token;
  if (writer != 0 && context.seems_dead(writer, coarse_monotonic_ns()) &&
      writer_.look(context).token == writer) {
    return writer_died(writer);
  }
  return no_entry(writer);
}

Result<RwLock::ReadHold> RwLock::lock_shared(const SyncContext& context, Deadline deadline) {
  if (context.token() == 0) {
    return fail(Code::failed_precondition,
                "rw lock: a forked child needs a context of its own: ask its Segment for one");
  }
  if (deadline.is_now()) return poll_shared(context);
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
      case Entry::unrepaired: return writer_died(0);
      case Entry::corrupt: return unexpected(writer_.check().error().in("rw lock"));
      case Entry::wait: break;
    }
    const std::uint32_t writer = writer_.look(context).token;
    const bool expired = slices.expired();
    if ((ask || expired) && writer != 0 && context.is_dead(writer) &&
        writer_.look(context).token == writer) {
      return writer_died(writer);
    }
    if (expired) {
      if (writer == 0 || !slices.is_long()) return no_entry(writer);
      return fail(Code::timed_out, "rw lock: written by " + context.describe(writer));
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
  // Before the mutex is taken, as new readers wait from then on, and would have to be woken.
  if (deadline.is_now() && context.token() != 0) STRATA_TRY(poll_readers(context));
  auto how = writer_.lock(context, deadline);
  if (!how && how.error().code() == Code::timed_out && deadline.is_now()) return how;
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

Result<void> RwLock::poll_readers(const SyncContext& context) {
  for (std::uint32_t seat = 0; seat < kMaxReaders; ++seat) {
    const Seat::State state = seats_[seat].look(context);
    if (state == Seat::State::corrupt) return corrupt_seat(seat);
    if (state == Seat::State::free) continue;
    const std::uint32_t reader = seats_[seat].token(context);
    if (reader == 0) continue;  // it has left since
    if (!context.seems_dead(reader, coarse_monotonic_ns())) return read_by(reader);
    seats_[seat].take_from_dead(context, Seat::Heir::nobody);
  }
  return {};
}

Result<void> RwLock::drain(const SyncContext& context, Deadline deadline) {
  if (deadline.is_now()) return poll_readers(context);
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
      return corrupt_seat(reader);
    }
    const bool expired = slices.expired();
    // A dead reader has changed nothing: its seat is simply free again.
    if ((ask || expired) && seats_[reader].take_from_dead(context, Seat::Heir::nobody)) continue;
    if (expired) {
      const std::uint32_t token = seats_[reader].token(context);
      if (!slices.is_long()) return read_by(token);
      return fail(Code::timed_out, "rw lock: read by " + context.describe(token));
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

}  // namespace strata::inline v0_1
