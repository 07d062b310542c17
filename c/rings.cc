// Rings in shared bytes.
#include "c/handles.h"

using namespace strata;
using namespace strata::c;

namespace {

constexpr std::uint64_t kRingAlignBytes = 64;

Result<RingOptions> ring_options_of(const strata_ring_options* given) {
  STRATA_TRY(check_pointer(given, "options"));
  STRATA_ASSIGN(const strata_ring_options from, read_options(given, "options"));
  return RingOptions{.slots = from.slots, .message_bytes = from.message_bytes};
}

// The bytes from `ring` on, in the payload.
Result<std::span<std::byte>> place_of(const strata_sync_context* context, void* ring) {
  STRATA_TRY(check_handle(context, "context"));
  STRATA_TRY(context->check_place(ring, sizeof(RingHeader), kRingAlignBytes, "ring"));
  return context->room_at(ring, "ring");
}

Result<std::span<std::byte>> place_for(const strata_sync_context* context, void* ring,
                                       std::uint64_t bytes) {
  STRATA_TRY(check_handle(context, "context"));
  STRATA_TRY(context->check_place(ring, bytes, kRingAlignBytes, "ring"));
  return std::span(static_cast<std::byte*>(ring), bytes);
}

MpmcRing::Loan loan_of(const strata_loan& loan) {
  return {.bytes = std::span(static_cast<std::byte*>(loan.data), loan.max_bytes),
          .slot = static_cast<std::uint32_t>(loan.reserved[0]),
          .word = loan.reserved[1]};
}

// A loan or a message that is used up names no slot that anybody could hold.
constexpr std::uint64_t kNoSlot = ~std::uint64_t{0};

}  // namespace

int strata_spsc_ring_bytes(const strata_ring_options* options, uint64_t* bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_pointer(bytes, "bytes"));
    STRATA_ASSIGN(const RingOptions checked, ring_options_of(options));
    STRATA_ASSIGN(*bytes, spsc_ring_bytes(checked));
    return {};
  });
}

int strata_spsc_ring_format(strata_sync_context* context, void* ring,
                            const strata_ring_options* options) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(const RingOptions checked, ring_options_of(options));
    STRATA_ASSIGN(const std::uint64_t bytes, spsc_ring_bytes(checked));
    STRATA_ASSIGN(const std::span<std::byte> place, place_for(context, ring, bytes));
    return format_spsc_ring(place, checked);
  });
}

int strata_spsc_producer_open(strata_sync_context* context, void* ring,
                              strata_spsc_producer** producer, int* predecessor_died) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(const std::span<std::byte> place, place_of(context, ring));
    STRATA_TRY(check_pointer(producer, "producer"));
    STRATA_ASSIGN(SpscProducer opened, SpscProducer::open(place, context->context));
    const bool died = opened.predecessor_died();
    *producer = new strata_spsc_producer(std::move(opened));
    if (predecessor_died != nullptr) *predecessor_died = died ? 1 : 0;
    return {};
  });
}

void strata_spsc_producer_close(strata_spsc_producer* producer) { close_handle(producer); }

int strata_spsc_producer_loan(strata_spsc_producer* producer, uint64_t timeout_ms, void** message,
                              size_t* max_bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(producer, "producer"));
    STRATA_TRY(check_pointer(message, "message"));
    STRATA_ASSIGN(const std::span<std::byte> slot,
                  producer->producer.loan(Deadline::after_ms(timeout_ms)));
    *message = slot.data();
    if (max_bytes != nullptr) *max_bytes = slot.size();
    return {};
  });
}

int strata_spsc_producer_publish(strata_spsc_producer* producer, size_t bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(producer, "producer"));
    return producer->producer.publish(bytes);
  });
}

int strata_spsc_producer_send(strata_spsc_producer* producer, const void* message, size_t bytes,
                              uint64_t timeout_ms) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(producer, "producer"));
    STRATA_ASSIGN(const std::span<const std::byte> content, bytes_at(message, bytes, "message"));
    return producer->producer.send(content, Deadline::after_ms(timeout_ms));
  });
}

int strata_spsc_consumer_open(strata_sync_context* context, void* ring,
                              strata_spsc_consumer** consumer, int* predecessor_died) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(const std::span<std::byte> place, place_of(context, ring));
    STRATA_TRY(check_pointer(consumer, "consumer"));
    STRATA_ASSIGN(SpscConsumer opened, SpscConsumer::open(place, context->context));
    const bool died = opened.predecessor_died();
    *consumer = new strata_spsc_consumer(std::move(opened));
    if (predecessor_died != nullptr) *predecessor_died = died ? 1 : 0;
    return {};
  });
}

void strata_spsc_consumer_close(strata_spsc_consumer* consumer) { close_handle(consumer); }

int strata_spsc_consumer_receive(strata_spsc_consumer* consumer, uint64_t timeout_ms,
                                 const void** message, size_t* bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(consumer, "consumer"));
    STRATA_TRY(check_pointer(message, "message"));
    STRATA_TRY(check_pointer(bytes, "bytes"));
    STRATA_ASSIGN(const std::span<const std::byte> received,
                  consumer->consumer.receive(Deadline::after_ms(timeout_ms)));
    *message = received.data();
    *bytes = received.size();
    return {};
  });
}

int strata_spsc_consumer_release(strata_spsc_consumer* consumer) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(consumer, "consumer"));
    return consumer->consumer.release();
  });
}

int strata_mpmc_ring_bytes(const strata_ring_options* options, uint64_t* bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_pointer(bytes, "bytes"));
    STRATA_ASSIGN(const RingOptions checked, ring_options_of(options));
    STRATA_ASSIGN(*bytes, mpmc_ring_bytes(checked));
    return {};
  });
}

int strata_mpmc_ring_format(strata_sync_context* context, void* ring,
                            const strata_ring_options* options) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(const RingOptions checked, ring_options_of(options));
    STRATA_ASSIGN(const std::uint64_t bytes, mpmc_ring_bytes(checked));
    STRATA_ASSIGN(const std::span<std::byte> place, place_for(context, ring, bytes));
    return format_mpmc_ring(place, checked);
  });
}

int strata_mpmc_ring_open(strata_sync_context* context, void* at, strata_mpmc_ring** ring) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_ASSIGN(const std::span<std::byte> place, place_of(context, at));
    STRATA_TRY(check_pointer(ring, "ring"));
    STRATA_ASSIGN(MpmcRing opened, MpmcRing::open(place, context->context));
    *ring = new strata_mpmc_ring(std::move(opened));
    return {};
  });
}

void strata_mpmc_ring_close(strata_mpmc_ring* ring) { close_handle(ring); }

int strata_mpmc_ring_loan(strata_mpmc_ring* ring, uint64_t timeout_ms, strata_loan* loan) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(ring, "ring"));
    STRATA_TRY(check_pointer(loan, "loan"));
    STRATA_ASSIGN(const MpmcRing::Loan got, ring->ring.loan(Deadline::after_ms(timeout_ms)));
    *loan = {got.bytes.data(), got.bytes.size(), {got.slot, got.word}};
    return {};
  });
}

int strata_mpmc_ring_publish(strata_mpmc_ring* ring, strata_loan* loan, size_t bytes) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(ring, "ring"));
    STRATA_TRY(check_pointer(loan, "loan"));
    MpmcRing::Loan held = loan_of(*loan);
    const auto published = ring->ring.publish(held, bytes);
    if (published || published.error().code() != Code::invalid_argument)
      *loan = {nullptr, 0, {kNoSlot, 0}};
    return published;
  });
}

int strata_mpmc_ring_abandon(strata_mpmc_ring* ring, strata_loan* loan) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(ring, "ring"));
    STRATA_TRY(check_pointer(loan, "loan"));
    MpmcRing::Loan held = loan_of(*loan);
    *loan = {nullptr, 0, {kNoSlot, 0}};
    return ring->ring.abandon(held);
  });
}

int strata_mpmc_ring_send(strata_mpmc_ring* ring, const void* message, size_t bytes,
                          uint64_t timeout_ms) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(ring, "ring"));
    STRATA_ASSIGN(const std::span<const std::byte> content, bytes_at(message, bytes, "message"));
    return ring->ring.send(content, Deadline::after_ms(timeout_ms));
  });
}

int strata_mpmc_ring_receive(strata_mpmc_ring* ring, uint64_t timeout_ms, strata_message* message) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(ring, "ring"));
    STRATA_TRY(check_pointer(message, "message"));
    STRATA_ASSIGN(const MpmcRing::Message got, ring->ring.receive(Deadline::after_ms(timeout_ms)));
    *message = {got.bytes.data(), got.bytes.size(), {got.slot, got.word}};
    return {};
  });
}

int strata_mpmc_ring_release(strata_mpmc_ring* ring, strata_message* message) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(ring, "ring"));
    STRATA_TRY(check_pointer(message, "message"));
    MpmcRing::Message held = {
        .bytes = std::span(static_cast<const std::byte*>(message->data), message->bytes),
        .slot = static_cast<std::uint32_t>(message->reserved[0]),
        .word = message->reserved[1]};
    *message = {nullptr, 0, {kNoSlot, 0}};
    return ring->ring.release(held);
  });
}
