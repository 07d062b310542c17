#include "python/core/barrier_state.h"

#include <algorithm>

namespace strata::python {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kOrdered = std::memory_order_seq_cst;

std::uint64_t turn_of(std::uint64_t state) { return state >> 1; }
bool is_broken_in(std::uint64_t state) { return (state & BarrierBytes::kBroken) != 0; }
std::uint64_t bit_of(std::uint64_t turn) { return std::uint64_t{1} << (turn % 64); }
std::uint64_t word_of(const SyncContext& context) {
  return context.generation_bits() | context.token();
}
std::uint32_t token_in(std::uint64_t word) { return static_cast<std::uint32_t>(word & kMaxToken); }

const char* text_of(BarrierState::Why why) {
  switch (why) {
    case BarrierState::Why::none: break;
    case BarrierState::Why::abort: return "abort() was called";
    case BarrierState::Why::timeout: return "one of those who waited ran out of time";
    case BarrierState::Why::death: return "a process that was waited for has been killed";
    case BarrierState::Why::action: return "its action raised an exception";
  }
  return "it was reset while others waited";
}

}  // namespace

BarrierState::BarrierState(SharedObject opened) : object_(std::move(opened)) {
  std::byte* const bytes = object_.payload(sizeof(BarrierBytes)).data();
  words_ = reinterpret_cast<BarrierBytes*>(bytes);
  places_ = reinterpret_cast<BarrierPlace*>(bytes + sizeof(BarrierBytes));
  // A copy, which nobody can change any more.
  parties_ = words_->parties.load(kRelaxed);
  if (parties_ < 1 || parties_ > kMostParties) {
    raise(Code::corrupt, object_.uri() + ": a barrier of " + std::to_string(parties_) +
                             " parties, of 1 to " + std::to_string(kMostParties));
  }
  object_.payload(bytes_for(parties_));
}

BarrierPlace& BarrierState::place(std::uint32_t index) { return places_[index]; }

template <typename Work>
auto BarrierState::locked(Work&& work) {
  const SyncContext& context = object_.context();
  Result<Acquired> how = words_->mutex.try_lock(context);
  if (!how) {
    how = wait(Timeout::for_ever(), [&](Deadline end) { return words_->mutex.lock(context, end); });
  }
  if (!how) raise(how.error().in(object_.uri()));
  struct Unlock {
    RobustMutex& mutex;
    const SyncContext& context;
    ~Unlock() { (void)mutex.unlock(context); }
  } const unlock{words_->mutex, context};
  if (*how == Acquired::owner_died) take(words_->mutex.mark_repaired(context));
  if (words_->generation.load(kRelaxed) != context.generation_bits()) {
    for (std::uint32_t i = 0; i < parties_; ++i) {
      place(i).who.store(0, kRelaxed);
      place(i).arrived.store(0, kRelaxed);
    }
    words_->state.store(0, kRelaxed);
    words_->reset_turns.store(0, kRelaxed);
    words_->generation.store(context.generation_bits(), kOrdered);
  }
  return work(context);
}

std::uint32_t BarrierState::arrived_in(std::uint64_t turn) {
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < parties_; ++i)
    count += place(i).arrived.load(kOrdered) == turn + 1 ? 1 : 0;
  return count;
}

// One's own of an earlier turn; else that of one who is dead, as if to replace it; else nobody's;
// else that of anybody who has not arrived in this turn. There is one, since the turn is not
// complete.
std::uint32_t BarrierState::choose_place(const SyncContext& context, std::uint64_t turn) {
  std::uint32_t best = 0;
  int best_rank = -1;
  for (std::uint32_t i = 0; i < parties_; ++i) {
    if (place(i).arrived.load(kRelaxed) == turn + 1) continue;
    const std::uint64_t who = place(i).who.load(kRelaxed);
    if (who == word_of(context)) return i;
    const int rank = who == 0 ? 1 : context.is_dead(token_in(who)) ? 2 : 0;
    if (rank > best_rank) {
      best = i;
      best_rank = rank;
    }
  }
  return best;
}

// The next turn begins by the one store: who arrived in this one has not arrived in that.
void BarrierState::end_turn(std::uint64_t turn, bool is_reset) {
  const std::uint64_t bits = words_->reset_turns.load(kRelaxed);
  words_->reset_turns.store(is_reset ? bits | bit_of(turn) : bits & ~bit_of(turn), kRelaxed);
  words_->state.store((turn + 1) << 1, kOrdered);
  words_->ended.notify_all();
}

void BarrierState::break_it(std::uint64_t turn, Why why) {
  words_->broken_by.store(static_cast<std::uint32_t>(why), kRelaxed);
  words_->state.store(turn << 1 | BarrierBytes::kBroken, kOrdered);
  words_->ended.notify_all();
}

void BarrierState::raise_broken() {
  throw Broken(object_.uri() +
               " is broken: " + text_of(static_cast<Why>(words_->broken_by.load(kRelaxed))));
}

BarrierState::Arrival BarrierState::arrive(const std::function<void()>& action) {
  return locked([&](const SyncContext& context) {
    std::uint64_t state = words_->state.load(kRelaxed);
    if (is_broken_in(state)) raise_broken();
    std::uint64_t turn = turn_of(state);
    if (arrived_in(turn) == parties_) {
      // The last one was killed before it ended the turn.
      end_turn(turn, false);
      ++turn;
    }
    const std::uint32_t index = arrived_in(turn);
    const std::uint32_t mine = choose_place(context, turn);
    place(mine).who.store(word_of(context), kOrdered);
    const bool is_last = index + 1 == parties_;
    if (is_last && action) {
      try {
        action();
      } catch (...) {
        break_it(turn, Why::action);
        throw;
      }
    }
    place(mine).arrived.store(turn + 1, kOrdered);
    if (is_last) end_turn(turn, false);
    return Arrival{index, mine, turn, is_last};
  });
}

bool BarrierState::has_ended(const Arrival& arrival) {
  const std::uint64_t state = words_->state.load(kOrdered);
  if (turn_of(state) != arrival.turn) {
    if ((words_->reset_turns.load(kRelaxed) & bit_of(arrival.turn)) == 0) return true;
    throw Broken(object_.uri() + " is broken: " + text_of(Why::none));
  }
  if (is_broken_in(state)) raise_broken();
  return false;
}

bool BarrierState::is_anybody_dead(const SyncContext& context, std::uint64_t turn) {
  for (std::uint32_t i = 0; i < parties_; ++i) {
    const std::uint64_t who = place(i).who.load(kRelaxed);
    if (who == 0 || place(i).arrived.load(kOrdered) == turn + 1) continue;
    if (!context.is_dead(token_in(who))) continue;
    // It may have arrived just before it died.
    if (place(i).arrived.load(kOrdered) != turn + 1 && place(i).who.load(kRelaxed) == who)
      return true;
  }
  return false;
}

bool BarrierState::look(const Arrival& arrival) {
  if (has_ended(arrival)) return true;
  const bool is_complete = arrived_in(arrival.turn) == parties_;
  if (!is_complete && !is_anybody_dead(object_.context(), arrival.turn)) return false;
  locked([&](const SyncContext& context) {
    const std::uint64_t state = words_->state.load(kRelaxed);
    if (turn_of(state) != arrival.turn || is_broken_in(state)) return;
    if (arrived_in(arrival.turn) == parties_) {
      end_turn(arrival.turn, false);
    } else if (is_anybody_dead(context, arrival.turn)) {
      break_it(arrival.turn, Why::death);
    }
  });
  return has_ended(arrival);
}

void BarrierState::wait_for(const Arrival& arrival, Timeout timeout) {
  if (arrival.is_last) return;
  const auto end = timeout.ns() ? std::optional(Deadline::after_ns(*timeout.ns())) : std::nullopt;
  for (;;) {
    const std::uint32_t ticket = words_->ended.ticket();
    if (look(arrival)) return;
    if (end && end->expired()) {
      time_out(arrival);
      return;
    }
    const Deadline slice =
        Deadline::after_ns(std::min(end ? end->remaining_ns() : kSliceNs, kSliceNs));
    without_gil([&] { return words_->ended.sleep(ticket, slice); });
    if (PyErr_CheckSignals() != 0) {
      nb::python_error raised;
      withdraw(arrival);
      throw raised;
    }
  }
}

void BarrierState::withdraw(const Arrival& arrival) {
  locked([&](const SyncContext&) {
    const std::uint64_t state = words_->state.load(kRelaxed);
    if (turn_of(state) == arrival.turn && arrived_in(arrival.turn) < parties_)
      place(arrival.place).arrived.store(0, kOrdered);
  });
}

void BarrierState::time_out(const Arrival& arrival) {
  locked([&](const SyncContext&) {
    const std::uint64_t state = words_->state.load(kRelaxed);
    if (turn_of(state) == arrival.turn && !is_broken_in(state))
      break_it(arrival.turn, Why::timeout);
  });
  has_ended(arrival);
}

void BarrierState::abort() {
  locked([&](const SyncContext&) { break_it(turn_of(words_->state.load(kRelaxed)), Why::abort); });
}

void BarrierState::reset() {
  locked([&](const SyncContext&) {
    end_turn(turn_of(words_->state.load(kRelaxed)), true);
    // Nobody is waited for who does not come again.
    for (std::uint32_t i = 0; i < parties_; ++i)
      place(i).who.store(0, kOrdered);
  });
}

std::uint32_t BarrierState::waiting() {
  const SyncContext& context = object_.context();
  const std::uint64_t state = words_->state.load(kOrdered);
  if (words_->generation.load(kRelaxed) != context.generation_bits() || is_broken_in(state))
    return 0;
  return arrived_in(turn_of(state)) % parties_;
}

bool BarrierState::is_broken() {
  const SyncContext& context = object_.context();
  return words_->generation.load(kRelaxed) == context.generation_bits() &&
         is_broken_in(words_->state.load(kOrdered));
}

void BarrierState::leave() {
  // Not by context(), which would join: who has not joined has not arrived either.
  const auto mine = object_.joined();
  if (!mine) return;
  for (std::uint32_t i = 0; i < parties_; ++i) {
    std::uint64_t who = word_of(*mine);
    place(i).who.compare_exchange(who, 0, kOrdered);
  }
}

}  // namespace strata::python
