#include "strata/sync/mpmc_ring.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "sync/thread_hint.h"

namespace strata::inline v0_1 {

namespace {

using mpmc_slot::State;

// Tries before an operation on which others make progress all the time calls the words corrupt.
constexpr std::uint32_t kMaxTries = 1'000'000;

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kOrdered = std::memory_order_seq_cst;

}  // namespace

Result<std::uint64_t> mpmc_ring_bytes(const RingOptions& options) {
  STRATA_ASSIGN(const RingGeometry plan, ring_geometry(options, RingKind::mpmc));
  return plan.total_bytes();
}

Result<void> format_mpmc_ring(std::span<std::byte> bytes, const RingOptions& options) {
  return format_ring(bytes, options, RingKind::mpmc);
}

MpmcRing::MpmcRing(std::span<std::byte> bytes, const RingGeometry& geometry,
                   const SyncContext& context)
    : block_(reinterpret_cast<MpmcBlock*>(bytes.data())),
      entries_(reinterpret_cast<SharedWord<std::uint64_t>*>(bytes.data() + sizeof(MpmcBlock))),
      slots_(bytes.data() + geometry.slots_offset_bytes),
      geometry_(geometry),
      context_(context),
      hint_(thread_hint(context.token())) {}

Result<MpmcRing> MpmcRing::open(std::span<std::byte> bytes, const SyncContext& context) {
  STRATA_ASSIGN(const RingGeometry geometry, read_ring(bytes, RingKind::mpmc));
  if (context.token() == 0) {
    return fail(Code::failed_precondition,
                "ring: a forked child needs a context of its own: ask its Segment for one");
  }
  return MpmcRing(bytes, geometry, context);
}

std::uint64_t MpmcRing::size() const {
  // Both only grow: with the tail first, one that was read before the head moved past it is 0, not
  // a huge difference.
  const std::uint64_t tail = block_->tail.position.load(kAcquire);
  const std::uint64_t head = block_->head.position.load(kAcquire);
  return tail > head ? std::min<std::uint64_t>(tail - head, geometry_.slots) : 0;
}

bool MpmcRing::try_loan(Loan& loan) {
  for (std::uint32_t i = 0; i < geometry_.slots; ++i) {
    const std::uint32_t index = (hint_ + i) & (geometry_.slots - 1);
    MpmcSlot& candidate = slot(index);
    std::uint64_t word = candidate.word.load(kRelaxed);
    if (mpmc_slot::state_of(word) != State::free) continue;
    const std::uint64_t mine = mpmc_slot::next(word, State::loaned, context_.token());
    if (!candidate.word.compare_exchange(word, mine, kAcquire)) continue;
    hint_ = index + 1;
    loan = {{reinterpret_cast<std::byte*>(&candidate + 1), geometry_.message_bytes}, index, mine};
    return true;
  }
  return false;
}

Unexpected MpmcRing::none_free() const {
  return fail(Code::timed_out, LateMessage{"ring: none of {} slots is free, and their holders live",
                                           {geometry_.slots}});
}

// Each slot is published and not yet received, at the moment of the second look at the head.
bool MpmcRing::is_full() const {
  const std::uint64_t head = block_->head.position.load(kAcquire);
  const std::uint64_t tail = block_->tail.position.load(kAcquire);
  return tail - head >= geometry_.slots && block_->head.position.load(kAcquire) == head;
}

Result<MpmcRing::Loan> MpmcRing::poll_loan() {
  const std::uint64_t now_ns = coarse_monotonic_ns();
  const bool was_searched = searched_ns_ == now_ns;
  // Searched once in a tick all the same: a slot comes back from one who died, before the head
  // does.
  if (was_searched && is_full()) return none_free();
  Loan loan{};
  if (try_loan(loan)) return loan;
  if (was_searched) return none_free();
  searched_ns_ = now_ns;
  const auto is_dead = [&](std::uint32_t token) { return context_.seems_dead(token, now_ns); };
  if (reclaim_from(is_dead) > 0 && try_loan(loan)) return loan;
  return none_free();
}

Result<MpmcRing::Loan> MpmcRing::loan(Deadline deadline) {
  if (deadline.is_now()) return poll_loan();
  Loan loan{};
  for (std::uint32_t spin = 0; spin <= context_.spins(); ++spin) {
    // Full, it is not searched: that would call each slot's line back from whoever reads it.
    if (!is_full() && try_loan(loan)) return loan;
    relax_cpu();
  }
  SlicedWait slices(deadline);
  bool ask = false;
  for (;;) {
    const std::uint32_t ticket = block_->head.sleepers.prepare();
    if (try_loan(loan)) return loan;
    const bool expired = slices.expired();
    if ((ask || expired) && reclaim() > 0) continue;
    if (expired) return none_free();
    ask = block_->head.sleepers.sleep(ticket, slices);
  }
}

// From `position` to the next: whoever is late finds that it has been done.
void MpmcRing::move_on(SharedWord<std::uint64_t>& from, std::uint64_t position) {
  from.compare_exchange(position, position + 1, kOrdered);
}

// Every other slot may be queued, but not this one: so there is always an entry to fill.
MpmcRing::Step MpmcRing::try_publish(std::uint32_t index) {
  const std::uint64_t tail = block_->tail.position.load(kAcquire);
  std::uint64_t seen = entry(tail).load(kAcquire);
  if (seen == mpmc_entry::awaiting(tail)) {
    if (!entry(tail).compare_exchange(seen, mpmc_entry::filled(tail, index), kOrdered)) {
      return Step::again;
    }
    move_on(block_->tail.position, tail);
    return Step::done;
  }
  // Filled, and perhaps taken since, but whoever filled it has not come to this yet or never will.
  if (mpmc_entry::is_filled_for(seen, tail) || mpmc_entry::is_for(seen, tail + geometry_.slots)) {
    move_on(block_->tail.position, tail);
  }
  return Step::again;
}

Result<void> MpmcRing::publish(Loan& loan, std::size_t message_bytes) {
  if (message_bytes > geometry_.message_bytes) {
    return fail(Code::invalid_argument, fmt::format("ring: a message of {} bytes, at most {} fit",
                                                    message_bytes, geometry_.message_bytes));
  }
  if (loan.slot >= geometry_.slots || slot(loan.slot).word.load(kRelaxed) != loan.word ||
      mpmc_slot::state_of(loan.word) != State::loaned ||
      mpmc_slot::token_of(loan.word) != context_.token()) {
    return fail(Code::failed_precondition, "ring: publish of a slot that is not loaned");
  }
  slot(loan.slot).message_bytes.store(static_cast<std::uint32_t>(message_bytes), kRelaxed);
  for (std::uint32_t tries = 0; tries < kMaxTries; ++tries) {
    if (try_publish(loan.slot) == Step::done) {
      loan = {};
      block_->tail.sleepers.wake_one();
      return {};
    }
  }
  return stuck("publish");
}

Result<void> MpmcRing::send(std::span<const std::byte> message, Deadline deadline) {
  STRATA_ASSIGN(Loan to, loan(deadline));
  std::memcpy(to.bytes.data(), message.data(), std::min(message.size(), to.bytes.size()));
  const auto published = publish(to, message.size());
  if (!published) STRATA_TRY(abandon(to));
  return published;
}

// So that the entry can be filled again, a whole round later.
void MpmcRing::empty_entry(std::uint64_t seen) {
  const std::uint64_t position = mpmc_entry::position_of(seen);
  entry(position).compare_exchange(seen, mpmc_entry::awaiting(position + geometry_.slots),
                                   kOrdered);
}

MpmcRing::Step MpmcRing::try_receive(Message& message) {
  const std::uint64_t head = block_->head.position.load(kAcquire);
  const std::uint64_t seen = entry(head).load(kAcquire);
  if (mpmc_entry::is_filled_for(seen, head)) return take(head, seen, message);
  if (seen == mpmc_entry::awaiting(head)) return Step::nothing;
  // Taken by one who has not come to this yet, or never will.
  if (mpmc_entry::is_for(seen, head + geometry_.slots)) move_on(block_->head.position, head);
  return Step::again;
}

MpmcRing::Step MpmcRing::take(std::uint64_t head, std::uint64_t seen, Message& message) {
  const std::uint32_t index = mpmc_entry::slot_of(seen);
  if (index >= geometry_.slots) return Step::again;
  MpmcSlot& taken = slot(index);
  std::uint64_t word = taken.word.load(kAcquire);
  // While an entry names a slot, the slot has not been free since it was published. So if the
  // entry is the same after the slot's word was read, that word is the publisher's or a taker's.
  if (entry(head).load(kAcquire) != seen) return Step::again;
  const bool is_there = mpmc_slot::state_of(word) == State::loaned;
  const std::uint64_t mine = mpmc_slot::next(word, State::received, context_.token());
  if (is_there && !taken.word.compare_exchange(word, mine, kOrdered)) return Step::again;
  empty_entry(seen);
  move_on(block_->head.position, head);
  if (!is_there) return Step::again;
  const std::uint32_t bytes = taken.message_bytes.load(kRelaxed);
  message = {{reinterpret_cast<const std::byte*>(&taken + 1), bytes}, index, mine};
  return Step::done;
}

Result<MpmcRing::Message> MpmcRing::receive(Deadline deadline) {
  Message message{};
  SlicedWait slices(deadline);
  std::uint32_t spins = context_.spins();
  std::uint32_t tries = 0;
  for (;;) {
    // Prepared only once spinning was in vain, as it costs the publishers a wake-up.
    const bool sleeps = spins == 0 && !deadline.is_now();
    const std::uint32_t ticket = sleeps ? block_->tail.sleepers.prepare() : 0;
    Step step = try_receive(message);
    while (step == Step::again && ++tries < kMaxTries)
      step = try_receive(message);
    if (step == Step::again) return stuck("receive");
    if (step == Step::done) break;
    if (!sleeps && !deadline.is_now()) {
      --spins;
      relax_cpu();
      continue;
    }
    if (deadline.is_now() || slices.expired()) {
      return fail(Code::timed_out, LateMessage{"ring: no message before the deadline"});
    }
    block_->tail.sleepers.sleep(ticket, slices);
  }
  if (message.bytes.size() <= geometry_.message_bytes) return message;
  const std::size_t bytes = message.bytes.size();
  STRATA_TRY(release(message));
  return fail(Code::corrupt, fmt::format("ring: a message of {} bytes in slots of {}", bytes,
                                         geometry_.message_bytes));
}

Result<void> MpmcRing::give_back(std::uint32_t index, std::uint64_t word, State held_as) {
  const bool is_mine = index < geometry_.slots && mpmc_slot::state_of(word) == held_as &&
                       mpmc_slot::token_of(word) == context_.token();
  std::uint64_t seen = word;
  if (!is_mine ||
      !slot(index).word.compare_exchange(seen, mpmc_slot::next(word, State::free, 0), kOrdered)) {
    return fail(Code::failed_precondition,
                fmt::format("ring: slot {} is not held by this process", index));
  }
  block_->head.sleepers.wake_one();
  return {};
}

Result<void> MpmcRing::abandon(Loan& loan) {
  STRATA_TRY(give_back(loan.slot, loan.word, State::loaned));
  loan = {};
  return {};
}

Result<void> MpmcRing::release(Message& message) {
  STRATA_TRY(give_back(message.slot, message.word, State::received));
  message = {};
  return {};
}

std::uint64_t MpmcRing::find_entry(std::uint32_t index) const {
  for (std::uint32_t i = 0; i < geometry_.slots; ++i) {
    const std::uint64_t seen = entries_[i].load(kAcquire);
    if (mpmc_entry::is_filled(seen) && mpmc_entry::slot_of(seen) == index) return seen;
  }
  return 0;
}

// The holder of `word` is dead: nobody but us and other reclaimers changes the slot now, unless it
// was published; then it belongs to the ring.
bool MpmcRing::reclaim_slot(std::uint32_t index, std::uint64_t word) {
  const std::uint64_t queued = find_entry(index);
  if (queued != 0) {
    if (mpmc_slot::state_of(word) == State::loaned) return false;
    // Its taker died before it emptied the entry. Only if the word is still the taker's does the
    // entry belong to it.
    if (slot(index).word.load(kAcquire) != word) return false;
    empty_entry(queued);
  }
  return slot(index).word.compare_exchange(word, mpmc_slot::next(word, State::free, 0), kOrdered);
}

template <typename IsDead>
std::uint32_t MpmcRing::reclaim_from(IsDead is_dead) {
  std::uint32_t reclaimed = 0, asked = 0;
  bool was_dead = false;
  for (std::uint32_t index = 0; index < geometry_.slots; ++index) {
    const std::uint64_t word = slot(index).word.load(kAcquire);
    if (mpmc_slot::state_of(word) == State::free || !mpmc_slot::is_possible(word)) continue;
    // Many slots of one holder are asked about once.
    const std::uint32_t token = mpmc_slot::token_of(word);
    if (token != asked) was_dead = is_dead(token);
    asked = token;
    if (was_dead && reclaim_slot(index, word)) ++reclaimed;
  }
  if (reclaimed > 0) block_->head.sleepers.wake_all();
  return reclaimed;
}

std::uint32_t MpmcRing::reclaim() {
  return reclaim_from([this](std::uint32_t token) { return context_.is_dead(token); });
}

Result<void> MpmcRing::check() const {
  std::vector<bool> is_queued(geometry_.slots);
  for (std::uint32_t i = 0; i < geometry_.slots; ++i) {
    const std::uint64_t seen = entries_[i].load(kAcquire);
    const std::uint32_t index = mpmc_entry::slot_of(seen);
    const bool is_placed = (mpmc_entry::position_of(seen) & (geometry_.slots - 1)) == i;
    const bool is_twice =
        mpmc_entry::is_filled(seen) && (index >= geometry_.slots || is_queued[index]);
    if (!is_placed || is_twice || (!mpmc_entry::is_filled(seen) && index != 0)) {
      return fail(Code::corrupt, fmt::format("ring: entry {} is {:#018x}", i, seen));
    }
    if (mpmc_entry::is_filled(seen)) is_queued[index] = true;
  }
  for (std::uint32_t index = 0; index < geometry_.slots; ++index) {
    const std::uint64_t word = slot(index).word.load(kAcquire);
    if (!mpmc_slot::is_possible(word) ||
        (is_queued[index] && mpmc_slot::state_of(word) == State::free)) {
      return fail(Code::corrupt, fmt::format("ring: the word of slot {} is {:#018x}", index, word));
    }
  }
  return {};
}

Unexpected MpmcRing::stuck(const char* what) const {
  return fail(Code::corrupt, fmt::format("ring: {} found no valid entry at head {} and tail {}",
                                         what, block_->head.position.load(kRelaxed),
                                         block_->tail.position.load(kRelaxed)));
}

}  // namespace strata::inline v0_1
