#include <cstring>
#include <map>
#include <vector>

#include "strata/sync/mpmc_ring.h"
#include "strata/sync/spsc_ring.h"
#include "sync/sync_testing.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;

namespace {

Deadline soon() { return Deadline::after_ms(60'000); }
Deadline now() { return Deadline::after_ms(0); }

struct alignas(64) Bytes {
  std::byte data[64 * 1024] = {};
  operator std::span<std::byte>() { return data; }
};

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

template <typename T>
T value_of(std::span<const std::byte> bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), std::min(sizeof(T), bytes.size()));
  return value;
}

}  // namespace

TEST_CASE("messages_are_written_and_read_in_place") {
  const LockFile file;
  const Party us(file, 1), them(file, 2);
  Bytes bytes;
  REQUIRE(format_spsc_ring(bytes, {.slots = 4, .message_bytes = 100}));
  auto producer = SpscProducer::open(bytes, us.context);
  auto consumer = SpscConsumer::open(bytes, them.context);
  REQUIRE(producer);
  REQUIRE(consumer);
  const auto loan = producer->loan(soon());
  REQUIRE(loan);
  CHECK(loan->size() == 100);
  std::memcpy(loan->data(), "hello", 5);
  REQUIRE(producer->publish(5));
  const auto message = consumer->receive(soon());
  REQUIRE(message);
  CHECK(message->data() == loan->data());
  CHECK(std::memcmp(message->data(), "hello", 5) == 0);
  CHECK(message->size() == 5);
  CHECK(consumer->receive(soon())->data() == message->data());
  REQUIRE(consumer->release());
  CHECK(consumer->release().error().code() == Code::failed_precondition);
  CHECK(consumer->receive(now()).error().code() == Code::timed_out);
}

TEST_CASE("a_full_ring_makes_its_producer_wait") {
  const LockFile file;
  const Party us(file, 1), them(file, 2);
  Bytes bytes;
  REQUIRE(format_spsc_ring(bytes, {.slots = 2, .message_bytes = 8}));
  auto producer = SpscProducer::open(bytes, us.context);
  auto consumer = SpscConsumer::open(bytes, them.context);
  CHECK(producer->publish(9).error().code() == Code::invalid_argument);
  REQUIRE(producer->send(bytes_of(std::uint64_t{1}), now()));
  REQUIRE(producer->send(bytes_of(std::uint64_t{2}), now()));
  const auto full = producer->send(bytes_of(std::uint64_t{3}), Deadline::after_ms(2));
  REQUIRE(!full);
  CHECK(full.error().code() == Code::timed_out);
  CHECK(full.error().message().find("token 2") != std::string::npos);
  CHECK(producer->publish(8).error().code() == Code::failed_precondition);
  CHECK(value_of<std::uint64_t>(consumer->receive(now()).value()) == 1);
  REQUIRE(consumer->release());
  REQUIRE(producer->send(bytes_of(std::uint64_t{3}), now()));
}

TEST_CASE("a_role_that_a_live_process_has_is_refused_and_a_dead_ones_is_taken") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<Bytes> bytes;
  REQUIRE(format_spsc_ring(*bytes, {.slots = 2, .message_bytes = 8}));
  const Shared<std::atomic<int>> ready(0);
  const pid_t child = start_child([&] {
    const Party me(file, 2);
    auto producer = SpscProducer::open(*bytes, me.context);
    if (!producer || !producer->send(bytes_of(std::uint64_t{7}), soon())) _exit(1);
    if (!producer->loan(soon())) _exit(2);
    *ready = 1;
    for (;;)
      pause();
  });
  wait_until([&] { return *ready == 1; });
  CHECK(SpscProducer::open(*bytes, us.context).error().code() == Code::failed_precondition);
  kill_child(child);
  auto producer = SpscProducer::open(*bytes, us.context);
  REQUIRE(producer);
  CHECK(producer->predecessor_died());
  REQUIRE(producer->send(bytes_of(std::uint64_t{8}), soon()));
  auto consumer = SpscConsumer::open(*bytes, us.context);
  for (const std::uint64_t expected : {7, 8}) {
    CHECK(value_of<std::uint64_t>(consumer->receive(soon()).value()) == expected);
    REQUIRE(consumer->release());
  }
}

TEST_CASE("a_message_that_a_dead_consumer_had_not_released_is_received_again") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<Bytes> bytes;
  REQUIRE(format_spsc_ring(*bytes, {.slots = 2, .message_bytes = 8}));
  auto producer = SpscProducer::open(*bytes, us.context);
  REQUIRE(producer->send(bytes_of(std::uint64_t{7}), soon()));
  const int status = in_child([&] {
    const Party me(file, 2);
    auto consumer = SpscConsumer::open(*bytes, me.context);
    if (!consumer || !consumer->receive(soon())) _exit(1);
    die();
  });
  REQUIRE(was_killed(status));
  auto consumer = SpscConsumer::open(*bytes, us.context);
  CHECK(consumer->predecessor_died());
  CHECK(value_of<std::uint64_t>(consumer->receive(soon()).value()) == 7);
}

TEST_CASE("a_stream_arrives_whole_and_in_order") {
  constexpr std::uint64_t kMessages = 50'000;
  const LockFile file;
  const Party us(file, 1);
  const Shared<Bytes> bytes;
  REQUIRE(format_spsc_ring(*bytes, {.slots = 64, .message_bytes = 24}));
  const pid_t child = start_child([&] {
    const Party me(file, 2);
    auto producer = SpscProducer::open(*bytes, me.context);
    if (!producer) _exit(1);
    for (std::uint64_t i = 0; i < kMessages; ++i) {
      const std::uint64_t message[3] = {i, i * i, ~i};
      if (!producer->send(std::as_bytes(std::span(message)), soon())) _exit(2);
    }
  });
  auto consumer = SpscConsumer::open(*bytes, us.context);
  for (std::uint64_t i = 0; i < kMessages; ++i) {
    const auto message = consumer->receive(soon());
    REQUIRE(message);
    const auto words = value_of<std::array<std::uint64_t, 3>>(*message);
    REQUIRE((words[0] == i && words[1] == i * i && words[2] == ~i));
    REQUIRE(consumer->release());
  }
  CHECK(wait_for(child) == 0);
}

TEST_CASE("options_and_bytes_that_cannot_be_a_ring_are_refused") {
  Bytes bytes;
  const LockFile file;
  const Party us(file, 1);
  CHECK(SpscProducer::open(bytes, us.context).error().code() == Code::not_ready);
  CHECK(MpmcRing::open(bytes, us.context).error().code() == Code::not_ready);
  for (const RingOptions options : {RingOptions{0, 8}, RingOptions{3, 8}, RingOptions{1, 8},
                                    RingOptions{1u << 21, 8}, RingOptions{2, 0}}) {
    CHECK(format_spsc_ring(bytes, options).error().code() == Code::invalid_argument);
    CHECK(format_mpmc_ring(bytes, options).error().code() == Code::invalid_argument);
  }
  CHECK(format_mpmc_ring(bytes, {1024, 64}).error().code() == Code::invalid_argument);
  REQUIRE(format_spsc_ring(bytes, {4, 8}));
  CHECK(MpmcRing::open(bytes, us.context).error().code() == Code::corrupt);
  // Each word of the header changed in turn.
  for (std::size_t at = 4; at < 32; at += 4) {
    REQUIRE(format_spsc_ring(bytes, {4, 8}));
    bytes.data[at] ^= std::byte{0xFF};
    bytes.data[at + 1] ^= std::byte{0xFF};
    const auto refused = SpscConsumer::open(bytes, us.context);
    REQUIRE(!refused);
    CHECK((refused.error().code() == Code::corrupt || refused.error().code() == Code::unsupported));
  }
}

TEST_CASE("hostile_positions_and_lengths_of_a_ring_are_corrupt") {
  const LockFile file;
  const Party us(file, 1), them(file, 2);
  Bytes bytes;
  REQUIRE(format_spsc_ring(bytes, {4, 8}));
  auto* block = reinterpret_cast<SpscBlock*>(bytes.data);
  block->released.position.store(9, std::memory_order_relaxed);
  CHECK(SpscProducer::open(bytes, us.context).error().code() == Code::corrupt);
  CHECK(SpscConsumer::open(bytes, us.context).error().code() == Code::corrupt);
  REQUIRE(format_spsc_ring(bytes, {4, 8}));
  auto consumer = SpscConsumer::open(bytes, us.context);
  block->published.position.store(5, std::memory_order_relaxed);
  CHECK(consumer->receive(soon()).error().code() == Code::corrupt);
  block->published.position.store(1, std::memory_order_relaxed);
  auto* lengths = reinterpret_cast<SharedWord<std::uint32_t>*>(bytes.data + sizeof(SpscBlock));
  lengths[0].store(9, std::memory_order_relaxed);
  CHECK(consumer->receive(soon()).error().code() == Code::corrupt);
}

TEST_CASE("a_shared_ring_passes_messages_in_the_order_of_publication") {
  const LockFile file;
  const Party us(file, 1);
  Bytes bytes;
  REQUIRE(format_mpmc_ring(bytes, {4, 32}));
  auto ring = MpmcRing::open(bytes, us.context);
  REQUIRE(ring);
  auto first = ring->loan(soon()), second = ring->loan(soon());
  REQUIRE(ring->publish(*second, 2));
  REQUIRE(ring->publish(*first, 1));
  CHECK(ring->publish(*first, 1).error().code() == Code::failed_precondition);
  auto a = ring->receive(soon()), b = ring->receive(soon());
  CHECK(a->bytes.size() == 2);
  CHECK(b->bytes.size() == 1);
  CHECK(ring->receive(now()).error().code() == Code::timed_out);
  REQUIRE(ring->release(*a));
  CHECK(ring->release(*a).error().code() == Code::failed_precondition);
  REQUIRE(ring->release(*b));
  CHECK(ring->check());
  for (int round = 0; round < 100; ++round) {
    REQUIRE(ring->send(bytes_of(round), soon()));
    auto message = ring->receive(soon());
    REQUIRE(value_of<int>(message->bytes) == round);
    REQUIRE(ring->release(*message));
  }
  CHECK(ring->check());
}

TEST_CASE("a_shared_ring_counts_the_messages_that_wait") {
  const LockFile file;
  const Party us(file, 1);
  Bytes bytes;
  REQUIRE(format_mpmc_ring(bytes, {.slots = 4, .message_bytes = 8}));
  auto ring = MpmcRing::open(bytes, us.context);
  REQUIRE(ring);
  CHECK(ring->slots() == 4);
  for (std::uint64_t round = 0; round < 10; ++round) {
    CHECK(ring->size() == 0);
    REQUIRE(ring->send(bytes_of(round), now()));
    REQUIRE(ring->send(bytes_of(round), now()));
    auto loan = ring->loan(now());
    REQUIRE(loan);
    CHECK(ring->size() == 2);  // what is not published does not count
    REQUIRE(ring->abandon(*loan));
    auto message = ring->receive(now());
    REQUIRE(message);
    CHECK(ring->size() == 1);  // nor does what somebody has received
    REQUIRE(ring->release(*message));
    message = ring->receive(now());
    REQUIRE(message);
    REQUIRE(ring->release(*message));
  }
}

TEST_CASE("a_full_shared_ring_makes_producers_wait") {
  const LockFile file;
  const Party us(file, 1);
  Bytes bytes;
  REQUIRE(format_mpmc_ring(bytes, {2, 32}));
  auto ring = MpmcRing::open(bytes, us.context);
  REQUIRE(ring->send(bytes_of(1), soon()));
  auto loan = ring->loan(soon());
  CHECK(ring->loan(Deadline::after_ms(2)).error().code() == Code::timed_out);
  REQUIRE(ring->abandon(*loan));
  CHECK(ring->send(bytes_of(2), soon()));
  auto message = ring->receive(soon());
  CHECK(value_of<int>(message->bytes) == 1);
  CHECK(ring->loan(now()).error().code() == Code::timed_out);
  REQUIRE(ring->release(*message));
  CHECK(ring->loan(now()));
}

TEST_CASE("a_producer_killed_or_stopped_with_a_loan_blocks_nobody_and_its_slot_comes_back") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<Bytes> bytes;
  REQUIRE(format_mpmc_ring(*bytes, {2, 8}));
  const Shared<std::atomic<int>> ready(0);
  const pid_t child = start_child([&] {
    const Party me(file, 2);
    auto ring = MpmcRing::open(*bytes, me.context);
    if (!ring || !ring->loan(soon())) _exit(1);
    *ready = 1;
    for (;;)
      pause();
  });
  wait_until([&] { return *ready == 1; });
  stop_child(child);
  auto ring = MpmcRing::open(*bytes, us.context);
  for (int round = 0; round < 10; ++round) {
    REQUIRE(ring->send(bytes_of(round), soon()));
    auto message = ring->receive(soon());
    REQUIRE(value_of<int>(message->bytes) == round);
    REQUIRE(ring->release(*message));
  }
  const auto loan = ring->loan(soon());
  REQUIRE(loan);
  CHECK(ring->loan(Deadline::after_ms(2)).error().code() == Code::timed_out);
  kill_child(child);
  CHECK(ring->loan(soon()));
  CHECK(ring->check());
}

TEST_CASE("what_a_producer_published_before_it_died_is_received") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<Bytes> bytes;
  REQUIRE(format_mpmc_ring(*bytes, {2, 8}));
  const int status = in_child([&] {
    const Party me(file, 2);
    auto ring = MpmcRing::open(*bytes, me.context);
    if (!ring || !ring->send(bytes_of(1), soon()) || !ring->send(bytes_of(2), soon())) _exit(1);
    die();
  });
  REQUIRE(was_killed(status));
  auto ring = MpmcRing::open(*bytes, us.context);
  CHECK(ring->reclaim() == 0);
  CHECK(ring->loan(now()).error().code() == Code::timed_out);
  CHECK(value_of<int>(ring->receive(soon())->bytes) == 1);
  CHECK(value_of<int>(ring->receive(soon())->bytes) == 2);
}

TEST_CASE("a_consumer_killed_with_a_message_loses_that_one_alone") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<Bytes> bytes;
  REQUIRE(format_mpmc_ring(*bytes, {2, 8}));
  auto ring = MpmcRing::open(*bytes, us.context);
  REQUIRE(ring->send(bytes_of(1), soon()));
  REQUIRE(ring->send(bytes_of(2), soon()));
  const int status = in_child([&] {
    const Party me(file, 2);
    auto theirs = MpmcRing::open(*bytes, me.context);
    if (!theirs || !theirs->receive(soon())) _exit(1);
    die();
  });
  REQUIRE(was_killed(status));
  auto message = ring->receive(soon());
  CHECK(value_of<int>(message->bytes) == 2);
  REQUIRE(ring->release(*message));
  CHECK(ring->loan(soon()));
  CHECK(ring->loan(soon()));
}

TEST_CASE("many_producers_and_consumers_lose_nothing_and_keep_each_producers_order") {
  constexpr std::uint32_t kProducers = 3, kConsumers = 2, kMessages = 5000;
  struct Note {
    std::uint32_t producer, number;
  };
  struct State {
    Bytes bytes;
    std::atomic<std::uint32_t> received{0};
    std::atomic<std::uint64_t> sum{0};
  };
  const LockFile file;
  const Shared<State> state;
  REQUIRE(format_mpmc_ring(state->bytes, {16, sizeof(Note)}));
  std::vector<pid_t> children;
  for (std::uint32_t p = 0; p < kProducers; ++p) {
    children.push_back(start_child([&] {
      const Party me(file, 2 + p);
      auto ring = MpmcRing::open(state->bytes, me.context);
      for (std::uint32_t n = 1; n <= kMessages; ++n)
        if (!ring->send(bytes_of(Note{p, n}), soon())) _exit(1);
    }));
  }
  for (std::uint32_t c = 0; c < kConsumers; ++c) {
    children.push_back(start_child([&] {
      const Party me(file, 20 + c);
      auto ring = MpmcRing::open(state->bytes, me.context);
      std::map<std::uint32_t, std::uint32_t> last;
      while (state->received < kProducers * kMessages) {
        auto message = ring->receive(Deadline::after_ms(5));
        if (!message) continue;
        const Note note = value_of<Note>(message->bytes);
        if (note.number <= last[note.producer]) _exit(2);
        last[note.producer] = note.number;
        state->sum += note.number;
        if (!ring->release(*message)) _exit(3);
        ++state->received;
      }
    }));
  }
  for (const pid_t child : children)
    CHECK(wait_for(child) == 0);
  CHECK(state->sum == std::uint64_t{kProducers} * kMessages * (kMessages + 1) / 2);
  const Party us(file, 1);
  CHECK(MpmcRing::open(state->bytes, us.context)->check());
}

TEST_CASE("hostile_words_of_a_shared_ring_are_corrupt_and_never_followed") {
  const LockFile file;
  const Party us(file, 1);
  Bytes bytes;
  std::uint64_t seed = 88172645463325252;
  int corrupt = 0;
  for (int round = 0; round < 12; ++round) {
    REQUIRE(format_mpmc_ring(bytes, {4, 8}));
    auto ring = MpmcRing::open(bytes, us.context);
    REQUIRE(ring->send(bytes_of(1), soon()));
    for (std::size_t at = 64; at < 192 + 4 * 8; at += 8) {
      seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
      std::memcpy(bytes.data + at, &seed, 8);
    }
    CHECK_FALSE(ring->check());
    const auto message = ring->receive(now());
    if (!message && message.error().code() == Code::corrupt) ++corrupt;
    (void)ring->send(bytes_of(2), now());
  }
  CHECK(corrupt > 0);
}
