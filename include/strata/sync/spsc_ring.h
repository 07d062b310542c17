// A ring between one producer and one consumer, with messages written and read in place.
//
//     auto slot = producer.loan(deadline);       auto message = consumer.receive(deadline);
//     write(slot->data());                       read(*message);
//     producer.publish(bytes);                   consumer.release();
//
//   Threads:  one thread as producer and one as consumer, of any attached processes.
//   Lifetime: the segment must stay mapped. A role ends with its object, or with its process.
//   Errors:   timed_out, with the token of the other side, described in full after a wait of 1 s;
//             failed_precondition where the role is held by a live process; corrupt for positions
//             or lengths out of bounds.
//   Cost:     about 5 ns a message that fits a cache line. Publish and release are one store each;
//             loan and receive touch the other side's cache line only when what they know of it is
//             used up. A poll that fails (a deadline of now): tens of ns, with one look at it.
//   Persists: messages do, roles do not.
// A producer killed between loan and publish has published nothing: its slot is loaned to the
// next producer. A consumer killed between receive and release has not consumed: the next consumer
// receives that message again. So each message is received at least once, twice at most per death.
//
// Publish stores the position, then looks whether the other side sleeps; who goes to sleep says so,
// then looks at the position. Each needs a full fence in between, or both may miss the other. Here
// the sleeper pays for both (os/fence.h), since it has the time. Where the kernel lacks the means,
// each publish and release has a fence of its own; where only the sleeper may not use them, a
// wake-up can come late by a slice of its wait.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/sync/cache_lines.h"
#include "strata/sync/ring_layout.h"
#include "strata/sync/robust_mutex.h"
#include "strata/sync/wake_word.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

struct SpscBlock {
  RingHeader header;                     // 0
  RobustMutex producer;                  // 64: held by the producer for as long as it is one
  RobustMutex consumer;                  // 128
  struct alignas(64) Side {              // 192 and 320: written by one side, read by the other
    SharedWord<std::uint64_t> position;  // slots published, or released, since the beginning
    std::uint64_t reserved[7];
    // Where the other side sleeps. On a line of its own, which both sides keep while nobody
    // sleeps: the look at it after each message would wait for the position's line to come back.
    WakeWord sleeper;
    std::uint32_t reserved2[15];
  };
  Side published;
  Side released;
};
static_assert(sizeof(SpscBlock) == 448);  // then a length for each slot, then the slots

// Bytes for a ring; they have to be aligned to 64.
Result<std::uint64_t> spsc_ring_bytes(const RingOptions& options);
Result<void> format_spsc_ring(std::span<std::byte> bytes, const RingOptions& options);

// What both ends have in common.
class SpscEnd {
 public:
  SpscEnd(SpscEnd&& other) noexcept;
  SpscEnd& operator=(SpscEnd&&) = delete;
  ~SpscEnd();
  std::uint32_t max_message_bytes() const { return geometry_.message_bytes; }
  // The last one in this role died in it.
  bool predecessor_died() const { return how_ == Acquired::owner_died; }

 protected:
  struct Opened {
    SpscBlock* block;
    RobustMutex* role;
    RingGeometry geometry;
    Acquired how;
  };
  SpscEnd(const Opened& opened, const SyncContext& context);

  static Result<Opened> take_role(std::span<std::byte> bytes, const SyncContext& context,
                                  RobustMutex SpscBlock::*role);
  std::byte* slot(std::uint64_t position) const {
    return slots_ + (position & (geometry_.slots - 1)) * geometry_.stride_bytes;
  }
  SharedWord<std::uint32_t>& length(std::uint64_t position) const {
    return lengths_[position & (geometry_.slots - 1)];
  }
  // Makes `position` known, and everything written before; wakes whoever sleeps until then.
  void advance(SpscBlock::Side& side, std::uint64_t position) const {
    if (answers_fences_) {
      side.position.store(position, std::memory_order_release);
      std::atomic_signal_fence(std::memory_order_seq_cst);
    } else {
      side.position.exchange(position, std::memory_order_seq_cst);
    }
    if (side.sleeper.has_sleepers()) side.sleeper.wake_all();
  }
  // Waits until the other side's position is not `seen`; its new value.
  Result<std::uint64_t> wait_beyond(std::uint64_t seen, SpscBlock::Side& other,
                                    const RobustMutex& other_role, Deadline deadline) const;
  static Unexpected kept_waiting(std::uint32_t token, bool is_dead);

  SpscBlock* block_;
  SharedWord<std::uint32_t>* lengths_;
  std::byte* slots_;
  RobustMutex* role_;
  RingGeometry geometry_;
  SyncContext context_;
  Acquired how_;
  bool answers_fences_;
};

class SpscProducer : public SpscEnd {
 public:
  // Becomes the producer; replaces one that died.
  static Result<SpscProducer> open(std::span<std::byte> bytes, const SyncContext& context);

  // A slot to write a message into, of max_message_bytes(). The same one again, until published.
  Result<std::span<std::byte>> loan(Deadline deadline) {
    if (tail_ - head_seen_ >= geometry_.slots) STRATA_TRY(make_room(deadline));
    return std::span<std::byte>(slot(tail_), geometry_.message_bytes);
  }
  // Requires a loan. invalid_argument for more bytes than were loaned.
  Result<void> publish(std::size_t message_bytes) {
    if (message_bytes > geometry_.message_bytes || tail_ - head_seen_ >= geometry_.slots) {
      return bad_publish(message_bytes);
    }
    // Left alone where it is right already: so both sides keep the lengths of messages that are all
    // of one size.
    SharedWord<std::uint32_t>& bytes = length(tail_);
    if (bytes.load(std::memory_order_relaxed) != message_bytes)
      bytes.store(static_cast<std::uint32_t>(message_bytes), std::memory_order_relaxed);
    advance(block_->published, ++tail_);
    return {};
  }
  // loan, copy, publish.
  Result<void> send(std::span<const std::byte> message, Deadline deadline);

 private:
  SpscProducer(const Opened& opened, const SyncContext& context, std::uint64_t tail,
               std::uint64_t head)
      : SpscEnd(opened, context), tail_(tail), head_seen_(head) {}
  Result<void> make_room(Deadline deadline);
  Unexpected bad_publish(std::size_t message_bytes) const;

  std::uint64_t tail_;
  std::uint64_t head_seen_;
};

class SpscConsumer : public SpscEnd {
 public:
  // Becomes the consumer; replaces one that died.
  static Result<SpscConsumer> open(std::span<std::byte> bytes, const SyncContext& context);

  // The oldest message, in place. The same one again, until released.
  Result<std::span<const std::byte>> receive(Deadline deadline) {
    if (head_ == tail_seen_) STRATA_TRY(await_message(deadline));
    const std::uint32_t bytes = length(head_).load(std::memory_order_relaxed);
    if (bytes > geometry_.message_bytes) return bad_length(bytes);
    received_bytes_ = bytes;
    return std::span<const std::byte>(slot(head_), bytes);
  }
  // Done with the message that receive gave. failed_precondition without one.
  Result<void> release() {
    if (head_ == tail_seen_) return nothing_received();
    if (hands_back_) hand_back_lines(slot(head_), received_bytes_);
    advance(block_->released, ++head_);
    return {};
  }

 private:
  SpscConsumer(const Opened& opened, const SyncContext& context, std::uint64_t head,
               std::uint64_t tail);
  Result<void> await_message(Deadline deadline);
  Unexpected bad_length(std::uint32_t bytes) const;
  Unexpected nothing_received() const;

  std::uint64_t head_;
  std::uint64_t tail_seen_;
  std::uint32_t received_bytes_ = 0;
  bool hands_back_;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
