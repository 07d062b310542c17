#include "strata/sync/barrier.h"

#include <fmt/format.h>

#include <algorithm>

namespace strata::inline v0_1 {

namespace {

Unexpected not_joined(std::uint32_t seat) {
  return fail(Code::failed_precondition,
              fmt::format("barrier: seat {} is not held by this process", seat));
}

}  // namespace

std::uint32_t Barrier::seats() const {
  return std::min(participants_.load(std::memory_order_relaxed), kMaxParticipants);
}

// The word of another generation counts as phase 0.
std::uint64_t Barrier::phase_word(const SyncContext& context) const {
  const std::uint64_t word = phase_.load(std::memory_order_seq_cst);
  return lock_word::is_of(word, context.generation_bits()) ? word : context.generation_bits();
}

Result<std::uint32_t> Barrier::join(const SyncContext& context) {
  if (context.token() == 0) {
    return fail(Code::failed_precondition,
                "barrier: a forked child needs a context of its own: ask its Segment for one");
  }
  STRATA_TRY(check());
  const std::uint32_t count = seats();
  for (std::uint32_t seat = 0; seat < count; ++seat) {
    if (places_[seat].seat.take_free(context)) return seat;
  }
  for (std::uint32_t seat = 0; seat < count; ++seat) {
    if (places_[seat].seat.take_from_dead(context, Seat::Heir::caller)) return seat;
  }
  return fail(Code::exhausted, fmt::format("barrier: all {} seats are taken", count));
}

Result<void> Barrier::leave(const SyncContext& context, std::uint32_t seat) {
  if (seat >= seats() || !places_[seat].seat.is_mine(context)) return not_joined(seat);
  // Taken back before the seat is free, or whoever joins next would have arrived already.
  places_[seat].arrived.store(phase_word(context), std::memory_order_seq_cst);
  places_[seat].seat.give_up(context);
  return {};
}

Result<Barrier::Arrival> Barrier::arrive(const SyncContext& context, std::uint32_t seat) {
  if (seat >= seats() || !places_[seat].seat.is_mine(context)) return not_joined(seat);
  const auto phase = static_cast<std::uint32_t>(phase_word(context));
  const std::uint32_t next = phase + 1;
  places_[seat].arrived.store(context.generation_bits() | next, std::memory_order_seq_cst);
  // The last to arrive wakes the others, also if it never waits itself.
  try_complete(context, phase);
  return Arrival{seat, phase};
}

bool Barrier::has_arrived(const SyncContext& context, std::uint32_t seat,
                          std::uint32_t phase) const {
  const std::uint32_t next = phase + 1;
  return places_[seat].seat.look(context) == Seat::State::held &&
         places_[seat].arrived.load(std::memory_order_seq_cst) ==
             (context.generation_bits() | next);
}

// Arrivals of a phase are never taken back, so that whoever sees all of them may complete it.
bool Barrier::try_complete(const SyncContext& context, std::uint32_t phase) {
  const std::uint32_t count = seats();
  for (std::uint32_t seat = 0; seat < count; ++seat) {
    if (!has_arrived(context, seat, phase)) return false;
  }
  const std::uint32_t next = phase + 1;
  std::uint64_t word = phase_.load(std::memory_order_relaxed);
  const bool is_current = lock_word::is_of(word, context.generation_bits())
                              ? static_cast<std::uint32_t>(word) == phase
                              : phase == 0;
  if (is_current &&
      phase_.compare_exchange(word, context.generation_bits() | next, std::memory_order_seq_cst)) {
    sleepers_.wake_all();
  }
  return true;
}

Result<void> Barrier::wait(const SyncContext& context, Arrival arrival, Deadline deadline) {
  STRATA_TRY(check());
  const auto is_over = [&] {
    return static_cast<std::uint32_t>(phase_word(context)) != arrival.phase ||
           try_complete(context, arrival.phase);
  };
  if (deadline.is_now()) {
    if (is_over()) return {};
    STRATA_TRY(find_dead(context, arrival.phase, Asking::as_polls));
    return late(context, arrival.phase, Describe::by_token);
  }
  for (std::uint32_t spin = 0; spin <= context.spins(); ++spin) {
    if (static_cast<std::uint32_t>(phase_word(context)) != arrival.phase) return {};
    relax_cpu();
  }
  SlicedWait slices(deadline);
  bool ask = false;
  for (;;) {
    const std::uint32_t ticket = sleepers_.prepare();
    if (is_over()) return {};
    const bool expired = slices.expired();
    if (ask || expired) STRATA_TRY(find_dead(context, arrival.phase, Asking::always));
    if (expired) {
      return late(context, arrival.phase,
                  slices.is_long() ? Describe::in_full : Describe::by_token);
    }
    ask = sleepers_.sleep(ticket, slices);
  }
}

Result<void> Barrier::arrive_and_wait(const SyncContext& context, std::uint32_t seat,
                                      Deadline deadline) {
  STRATA_ASSIGN(const Arrival arrival, arrive(context, seat));
  return wait(context, arrival, deadline);
}

Result<void> Barrier::find_dead(const SyncContext& context, std::uint32_t phase,
                                Asking asking) const {
  const std::uint32_t count = seats();
  const std::uint64_t now_ns = asking == Asking::as_polls ? coarse_monotonic_ns() : 0;
  const auto is_dead = [&](std::uint32_t token) {
    return asking == Asking::as_polls ? context.seems_dead(token, now_ns) : context.is_dead(token);
  };
  for (std::uint32_t seat = 0; seat < count; ++seat) {
    const std::uint32_t token = places_[seat].seat.token(context);
    if (token == 0 || has_arrived(context, seat, phase) || !is_dead(token)) continue;
    // It may have arrived just before it died: its last word counts.
    if (has_arrived(context, seat, phase) || places_[seat].seat.token(context) != token) continue;
    return fail(Code::failed_precondition,
                LateMessage{"barrier: the participant of seat {} died before it arrived (token {})",
                            {seat, token}});
  }
  return {};
}

Unexpected Barrier::late(const SyncContext& context, std::uint32_t phase, Describe how) const {
  const std::uint32_t count = seats();
  std::uint32_t empty = 0;
  for (std::uint32_t seat = 0; seat < count; ++seat) {
    const std::uint32_t token = places_[seat].seat.token(context);
    if (token != 0 && !has_arrived(context, seat, phase)) {
      if (how == Describe::by_token) {
        return fail(Code::timed_out,
                    LateMessage{"barrier: seat {} has not arrived (token {})", {seat, token}});
      }
      return fail(Code::timed_out, fmt::format("barrier: seat {} has not arrived ({})", seat,
                                               context.describe(token)));
    }
    empty += token == 0 ? 1 : 0;
  }
  return fail(Code::timed_out,
              LateMessage{"barrier: {} of {} participants never joined", {empty, count}});
}

Result<void> Barrier::check() const {
  const std::uint32_t count = participants_.load(std::memory_order_relaxed);
  if (count >= 1 && count <= kMaxParticipants) return {};
  return fail(Code::corrupt,
              fmt::format("barrier: {} participants, of 1 to {}", count, kMaxParticipants));
}

}  // namespace strata::inline v0_1
