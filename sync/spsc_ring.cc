#include "strata/sync/spsc_ring.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "os/fence.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint32_t kMostPauses = 16;  // well below the time that a sleep and a wake-up take

Unexpected bad_positions(std::uint64_t published, std::uint64_t released, std::uint32_t slots) {
  return fail(Code::corrupt, fmt::format("ring: {} published, {} released, with {} slots",
                                         published, released, slots));
}

}  // namespace

Result<std::uint64_t> spsc_ring_bytes(const RingOptions& options) {
  STRATA_ASSIGN(const RingGeometry plan, ring_geometry(options, RingKind::spsc));
  return plan.total_bytes();
}

Result<void> format_spsc_ring(std::span<std::byte> bytes, const RingOptions& options) {
  return format_ring(bytes, options, RingKind::spsc);
}

SpscEnd::SpscEnd(const Opened& opened, const SyncContext& context)
    : block_(opened.block),
      lengths_(reinterpret_cast<SharedWord<std::uint32_t>*>(block_ + 1)),
      slots_(reinterpret_cast<std::byte*>(block_) + opened.geometry.slots_offset_bytes),
      role_(opened.role),
      geometry_(opened.geometry),
      context_(context),
      how_(opened.how),
      answers_fences_(answer_fences()) {}

SpscEnd::SpscEnd(SpscEnd&& other) noexcept
    : block_(other.block_),
      lengths_(other.lengths_),
      slots_(other.slots_),
      role_(std::exchange(other.role_, nullptr)),
      geometry_(other.geometry_),
      context_(other.context_),
      how_(other.how_),
      answers_fences_(other.answers_fences_) {}

SpscEnd::~SpscEnd() {
  if (role_ != nullptr) (void)role_->unlock(context_);
}

Result<SpscEnd::Opened> SpscEnd::take_role(std::span<std::byte> bytes, const SyncContext& context,
                                           RobustMutex SpscBlock::*role) {
  STRATA_ASSIGN(const RingGeometry geometry, read_ring(bytes, RingKind::spsc));
  auto* block = reinterpret_cast<SpscBlock*>(bytes.data());
  RobustMutex& held = block->*role;
  auto how = held.try_lock(context);
  if (!how && how.error().code() == Code::timed_out) {
    // Whoever replaces one that has just died is not to be told that it still lives.
    if (context.is_dead(held.look(context).token)) how = held.try_lock(context);
  }
  if (!how && how.error().code() == Code::timed_out) {
    return fail(Code::failed_precondition,
                "ring: the role is taken by " + held.describe_holder(context));
  }
  if (!how) return unexpected(how.error().in("ring"));
  // There is nothing to repair: positions change in one step.
  if (*how == Acquired::owner_died) STRATA_TRY((block->*role).mark_repaired(context));
  return Opened{block, &(block->*role), geometry, *how};
}

Result<std::uint64_t> SpscEnd::wait_beyond(std::uint64_t seen, SpscBlock::Side& other,
                                           const RobustMutex& other_role, Deadline deadline) const {
  if (deadline.is_now()) {
    const std::uint64_t position = other.position.load(std::memory_order_acquire);
    if (position != seen) return position;
    const std::uint32_t token = other_role.look(context_).token;
    return kept_waiting(token, token != 0 && context_.seems_dead(token, coarse_monotonic_ns()));
  }
  // Each look takes the line from the other side, which needs it for every message: so they
  // become rarer, and it gets ahead meanwhile.
  std::uint32_t pauses = 1;
  for (std::uint32_t paused = 0; paused <= context_.spins(); paused += pauses) {
    const std::uint64_t position = other.position.load(std::memory_order_acquire);
    if (position != seen) return position;
    for (std::uint32_t i = 0; i < pauses; ++i)
      relax_cpu();
    pauses = std::min(pauses * 2, kMostPauses);
  }
  SlicedWait slices(deadline);
  for (;;) {
    const std::uint32_t ticket = other.sleeper.prepare();
    fence_others();
    const std::uint64_t position = other.position.load(std::memory_order_seq_cst);
    if (position != seen) return position;
    if (slices.expired()) {
      const std::uint32_t token = other_role.look(context_).token;
      const bool is_dead = token != 0 && context_.is_dead(token);
      if (token == 0 || is_dead || !slices.is_long()) return kept_waiting(token, is_dead);
      return fail(Code::timed_out, "ring: waiting for " + context_.describe(token));
    }
    other.sleeper.sleep(ticket, slices);
  }
}

Unexpected SpscEnd::kept_waiting(std::uint32_t token, bool is_dead) {
  if (token == 0) return fail(Code::timed_out, LateMessage{"ring: nobody is at the other end"});
  return fail(Code::timed_out, is_dead
                                   ? LateMessage{"ring: waiting for token {}, which died", {token}}
                                   : LateMessage{"ring: waiting for token {}", {token}});
}

Result<SpscProducer> SpscProducer::open(std::span<std::byte> bytes, const SyncContext& context) {
  STRATA_ASSIGN(const Opened opened, take_role(bytes, context, &SpscBlock::producer));
  const std::uint64_t tail = opened.block->published.position.load(std::memory_order_acquire);
  const std::uint64_t head = opened.block->released.position.load(std::memory_order_acquire);
  SpscProducer producer(opened, context, tail, head);
  if (tail - head > opened.geometry.slots) return bad_positions(tail, head, opened.geometry.slots);
  return producer;
}

Result<void> SpscProducer::make_room(Deadline deadline) {
  STRATA_ASSIGN(const std::uint64_t head,
                wait_beyond(head_seen_, block_->released, block_->consumer, deadline));
  if (tail_ - head > geometry_.slots) return bad_positions(tail_, head, geometry_.slots);
  head_seen_ = head;
  return {};
}

Result<void> SpscProducer::send(std::span<const std::byte> message, Deadline deadline) {
  if (message.size() > geometry_.message_bytes) return bad_publish(message.size());
  STRATA_ASSIGN(const std::span<std::byte> into, loan(deadline));
  std::memcpy(into.data(), message.data(), message.size());
  return publish(message.size());
}

Unexpected SpscProducer::bad_publish(std::size_t message_bytes) const {
  if (message_bytes > geometry_.message_bytes) {
    return fail(Code::invalid_argument, fmt::format("ring: a message of {} bytes, at most {} fit",
                                                    message_bytes, geometry_.message_bytes));
  }
  return fail(Code::failed_precondition, "ring: publish without a loan");
}

// Where both sides share one CPU, they share its cache. Messages that share a line are no reason to
// give it away.
SpscConsumer::SpscConsumer(const Opened& opened, const SyncContext& context, std::uint64_t head,
                           std::uint64_t tail)
    : SpscEnd(opened, context),
      head_(head),
      tail_seen_(tail),
      hands_back_(context.spins() > 0 && opened.geometry.stride_bytes >= 64) {}

Result<SpscConsumer> SpscConsumer::open(std::span<std::byte> bytes, const SyncContext& context) {
  STRATA_ASSIGN(const Opened opened, take_role(bytes, context, &SpscBlock::consumer));
  const std::uint64_t head = opened.block->released.position.load(std::memory_order_acquire);
  const std::uint64_t tail = opened.block->published.position.load(std::memory_order_acquire);
  SpscConsumer consumer(opened, context, head, tail);
  if (tail - head > opened.geometry.slots) return bad_positions(tail, head, opened.geometry.slots);
  return consumer;
}

Result<void> SpscConsumer::await_message(Deadline deadline) {
  STRATA_ASSIGN(const std::uint64_t tail,
                wait_beyond(tail_seen_, block_->published, block_->producer, deadline));
  if (tail - head_ > geometry_.slots) return bad_positions(tail, head_, geometry_.slots);
  tail_seen_ = tail;
  return {};
}

Unexpected SpscConsumer::bad_length(std::uint32_t bytes) const {
  return fail(Code::corrupt, fmt::format("ring: a message of {} bytes in slots of {}", bytes,
                                         geometry_.message_bytes));
}

Unexpected SpscConsumer::nothing_received() const {
  return fail(Code::failed_precondition, "ring: release without a message received");
}

}  // namespace strata::inline v0_1
