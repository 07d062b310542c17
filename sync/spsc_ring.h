// A ring between one producer and one consumer, with messages written and read in place.
//
//     auto slot = producer.loan(deadline);       auto message = consumer.receive(deadline);
//     write(slot->data());                       read(*message);
//     producer.publish(bytes);                   consumer.release();
//
//   Threads:  one thread as producer and one as consumer, of any attached processes.
//   Lifetime: the segment must stay mapped. A role ends with its object, or with its process.
//   Errors:   timed_out, naming the other side where it is known; failed_precondition where the
//             role is held by a live process; corrupt for positions or lengths out of bounds.
//   Cost:     publish and release are one exchange each; loan and receive touch the other side's
//             cache line only when what they know of it is used up.
//   Persists: messages do, roles do not.
// A producer killed between loan and publish has published nothing: its slot is loaned to the
// next producer. A consumer killed between receive and release has not consumed: the next consumer
// receives that message again. So each message is received at least once, twice at most per death.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "os/deadline.h"
#include "sync/ring_layout.h"
#include "sync/robust_mutex.h"
#include "sync/wake_word.h"

namespace strata {

// Before the bytes of each message.
struct SpscSlot {
  SharedWord<std::uint32_t> message_bytes;
  std::uint32_t reserved;
};
static_assert(sizeof(SpscSlot) == 8);

struct SpscBlock {
  RingHeader header;                     // 0
  RobustMutex producer;                  // 64: held by the producer for as long as it is one
  RobustMutex consumer;                  // 128
  struct alignas(64) Side {              // 192 and 256: written by one side, read by the other
    SharedWord<std::uint64_t> position;  // slots published, or released, since the beginning
    WakeWord sleeper;                    // where the other side sleeps
    std::uint32_t reserved[13];
  };
  Side published;
  Side released;
};
static_assert(sizeof(SpscBlock) == 320);

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
  SpscEnd(SpscBlock* block, RobustMutex* role, const RingGeometry& geometry,
          const SyncContext& context, Acquired how)
      : block_(block), role_(role), geometry_(geometry), context_(context), how_(how) {}

  struct Opened {
    SpscBlock* block;
    RobustMutex* role;
    RingGeometry geometry;
    Acquired how;
  };
  static Result<Opened> take_role(std::span<std::byte> bytes, const SyncContext& context,
                                  RobustMutex SpscBlock::*role);
  SpscSlot* slot(std::uint64_t position) const {
    return reinterpret_cast<SpscSlot*>(reinterpret_cast<std::byte*>(block_) +
                                       geometry_.slots_offset_bytes +
                                       (position & (geometry_.slots - 1)) * geometry_.stride_bytes);
  }
  // Waits until the other side's position is not `seen`; its new value.
  Result<std::uint64_t> wait_beyond(std::uint64_t seen, SpscBlock::Side& other,
                                    const RobustMutex& other_role, Deadline deadline) const;

  SpscBlock* block_;
  RobustMutex* role_;
  RingGeometry geometry_;
  SyncContext context_;
  Acquired how_;
};

class SpscProducer : public SpscEnd {
 public:
  // Becomes the producer; replaces one that died.
  static Result<SpscProducer> open(std::span<std::byte> bytes, const SyncContext& context);

  // A slot to write a message into, of max_message_bytes(). The same one again, until published.
  Result<std::span<std::byte>> loan(Deadline deadline) {
    if (tail_ - head_seen_ >= geometry_.slots) STRATA_TRY(make_room(deadline));
    auto* data = reinterpret_cast<std::byte*>(slot(tail_) + 1);
    return std::span<std::byte>(data, geometry_.message_bytes);
  }
  // Requires a loan. invalid_argument for more bytes than were loaned.
  Result<void> publish(std::size_t message_bytes) {
    if (message_bytes > geometry_.message_bytes || tail_ - head_seen_ >= geometry_.slots) {
      return bad_publish(message_bytes);
    }
    slot(tail_)->message_bytes.store(static_cast<std::uint32_t>(message_bytes),
                                     std::memory_order_relaxed);
    ++tail_;
    // An exchange, so that the look at the sleepers comes after it.
    block_->published.position.exchange(tail_, std::memory_order_seq_cst);
    block_->published.sleeper.wake_all();
    return {};
  }
  // loan, copy, publish.
  Result<void> send(std::span<const std::byte> message, Deadline deadline);

 private:
  SpscProducer(const Opened& opened, const SyncContext& context, std::uint64_t tail,
               std::uint64_t head)
      : SpscEnd(opened.block, opened.role, opened.geometry, context, opened.how),
        tail_(tail),
        head_seen_(head) {}
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
    SpscSlot* from = slot(head_);
    const std::uint32_t bytes = from->message_bytes.load(std::memory_order_relaxed);
    if (bytes > geometry_.message_bytes) return bad_length(bytes);
    return std::span<const std::byte>(reinterpret_cast<const std::byte*>(from + 1), bytes);
  }
  // Done with the message that receive gave. failed_precondition without one.
  Result<void> release() {
    if (head_ == tail_seen_) return nothing_received();
    ++head_;
    block_->released.position.exchange(head_, std::memory_order_seq_cst);
    block_->released.sleeper.wake_all();
    return {};
  }

 private:
  SpscConsumer(const Opened& opened, const SyncContext& context, std::uint64_t head,
               std::uint64_t tail)
      : SpscEnd(opened.block, opened.role, opened.geometry, context, opened.how),
        head_(head),
        tail_seen_(tail) {}
  Result<void> await_message(Deadline deadline);
  Unexpected bad_length(std::uint32_t bytes) const;
  Unexpected nothing_received() const;

  std::uint64_t head_;
  std::uint64_t tail_seen_;
};

}  // namespace strata
