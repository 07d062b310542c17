// Kills at every step of both rings.
#include <atomic>
#include <cstring>
#include <span>

#include "strata/sync/mpmc_ring.h"
#include "strata/sync/spsc_ring.h"
#include "sync/kill_testing.h"

using namespace strata;
using namespace strata::test;

namespace {

struct alignas(64) Ring {
  std::byte bytes[2048] = {};
  std::atomic<int> go{0};
  std::span<std::byte> span() { return bytes; }
};

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

std::uint64_t value_of(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof(value)));
  return value;
}

void format_spsc(Ring& ring, const Party&) {
  REQUIRE(format_spsc_ring(ring.span(), {.slots = 2, .message_bytes = 8}));
}

void send(SpscProducer& producer, std::uint64_t value) {
  need(producer.send(bytes_of(value), soon()).has_value(), 30);
}

}  // namespace

TEST_CASE("a_process_killed_at_any_step_of_an_spsc_ring_is_replaced") {
  kill_at_every_step<Ring>("spsc ring: produce",
                           {.prepare = format_spsc,
                            .operate =
                                [](Ring& ring, const Party& me, const auto& arm) {
                                  arm();
                                  auto producer = SpscProducer::open(ring.span(), me.context);
                                  need(producer.has_value(), 10);
                                  send(*producer, 1);
                                  send(*producer, 2);
                                },
                            .check =
                                [](Ring& ring, const Party& us) {
                                  auto consumer = SpscConsumer::open(ring.span(), us.context);
                                  REQUIRE(consumer);
                                  std::uint64_t last = 0;
                                  while (const auto message = consumer->receive(now())) {
                                    CHECK(value_of(*message) == ++last);
                                    REQUIRE(consumer->release());
                                  }
                                  auto producer = SpscProducer::open(ring.span(), us.context);
                                  REQUIRE(producer);
                                  REQUIRE(producer->send(bytes_of(std::uint64_t{9}), now()));
                                  CHECK(value_of(consumer->receive(now()).value()) == 9);
                                }});
  kill_at_every_step<Ring>("spsc ring: consume",
                           {.prepare =
                                [](Ring& ring, const Party& us) {
                                  format_spsc(ring, us);
                                  auto producer = SpscProducer::open(ring.span(), us.context);
                                  REQUIRE(producer->send(bytes_of(std::uint64_t{1}), now()));
                                  REQUIRE(producer->send(bytes_of(std::uint64_t{2}), now()));
                                },
                            .operate =
                                [](Ring& ring, const Party& me, const auto& arm) {
                                  arm();
                                  auto consumer = SpscConsumer::open(ring.span(), me.context);
                                  need(consumer.has_value(), 10);
                                  for (const std::uint64_t expected : {1, 2}) {
                                    const auto message = consumer->receive(soon());
                                    need(message.has_value() && value_of(*message) == expected, 11);
                                    need(consumer->release().has_value(), 12);
                                  }
                                },
                            .check =
                                [](Ring& ring, const Party& us) {
                                  auto consumer = SpscConsumer::open(ring.span(), us.context);
                                  REQUIRE(consumer);
                                  // What is left is a tail of {1, 2}: nothing is lost, nothing
                                  // comes twice in a row.
                                  std::uint64_t next = 0;
                                  while (const auto message = consumer->receive(now())) {
                                    const std::uint64_t value = value_of(*message);
                                    CHECK((next == 0 || value == next));
                                    next = value + 1;
                                    REQUIRE(consumer->release());
                                  }
                                  CHECK((next == 0 || next == 3));
                                }});
  kill_at_every_step<Ring>("spsc ring: produce and consume while the other end sleeps",
                           {.prepare = format_spsc,
                            .operate =
                                [](Ring& ring, const Party& me, const auto& arm) {
                                  auto producer = SpscProducer::open(ring.span(), me.context);
                                  need(producer.has_value(), 10);
                                  ring.go = 1;
                                  usleep(3000);
                                  arm();
                                  send(*producer, 1);
                                  send(*producer, 2);
                                  send(*producer, 3);
                                  send(*producer, 4);
                                },
                            .meanwhile =
                                [](Ring& ring, const Party& other) {
                                  wait_until([&] { return ring.go == 1; });
                                  auto consumer = SpscConsumer::open(ring.span(), other.context);
                                  need(consumer.has_value(), 20);
                                  for (std::uint64_t expected = 1; expected <= 4; ++expected) {
                                    const auto message = consumer->receive(Deadline::after_ms(60));
                                    if (!message) {
                                      need(message.error().code() == Code::timed_out, 21);
                                      return;
                                    }
                                    need(value_of(*message) == expected, 22);
                                    usleep(1000);
                                    need(consumer->release().has_value(), 23);
                                  }
                                },
                            .check =
                                [](Ring& ring, const Party& us) {
                                  auto producer = SpscProducer::open(ring.span(), us.context);
                                  CHECK(producer);
                                  CHECK(SpscConsumer::open(ring.span(), us.context));
                                }});
}

namespace {

void format_mpmc(Ring& ring, const Party&) {
  REQUIRE(format_mpmc_ring(ring.span(), {.slots = 4, .message_bytes = 8}));
}

// All slots can be loaned, all messages come in order, and nothing is left over.
void check_mpmc(Ring& bytes, const Party& us) {
  auto ring = MpmcRing::open(bytes.span(), us.context);
  REQUIRE(ring);
  std::uint64_t last = 0;
  while (auto message = ring->receive(now())) {
    CHECK(value_of(message->bytes) > last);
    last = value_of(message->bytes);
    REQUIRE(ring->release(*message));
  }
  for (int round = 0; round < 3; ++round) {
    std::vector<MpmcRing::Loan> loans;
    for (int i = 0; i < 4; ++i) {
      auto loan = ring->loan(now());
      REQUIRE(loan);
      loans.push_back(*loan);
    }
    CHECK(ring->loan(now()).error().code() == Code::timed_out);
    for (std::uint64_t i = 0; i < 4; ++i) {
      std::memcpy(loans[i].bytes.data(), &i, sizeof(i));
      REQUIRE(ring->publish(loans[i], sizeof(i)));
    }
    for (std::uint64_t i = 0; i < 4; ++i) {
      auto message = ring->receive(now());
      REQUIRE(message);
      CHECK(value_of(message->bytes) == i);
      REQUIRE(ring->release(*message));
    }
    CHECK(ring->check());
  }
}

void send(MpmcRing& ring, std::uint64_t value) {
  need(ring.send(bytes_of(value), soon()).has_value(), 30);
}

}  // namespace

TEST_CASE("a_process_killed_at_any_step_of_a_shared_ring_blocks_nobody") {
  kill_at_every_step<Ring>("mpmc ring: loan, publish, abandon",
                           {.prepare = format_mpmc,
                            .operate =
                                [](Ring& bytes, const Party& me, const auto& arm) {
                                  auto ring = MpmcRing::open(bytes.span(), me.context);
                                  need(ring.has_value(), 10);
                                  arm();
                                  send(*ring, 1);
                                  auto loan = ring->loan(soon());
                                  need(loan.has_value(), 11);
                                  send(*ring, 2);
                                  need(ring->abandon(*loan).has_value(), 12);
                                },
                            .check = check_mpmc});
  const auto fill = [](Ring& bytes, const Party& us) {
    format_mpmc(bytes, us);
    auto ring = MpmcRing::open(bytes.span(), us.context);
    for (std::uint64_t value = 1; value <= 4; ++value)
      REQUIRE(ring->send(bytes_of(value), now()));
  };
  kill_at_every_step<Ring>("mpmc ring: receive, release",
                           {.prepare = fill,
                            .operate =
                                [](Ring& bytes, const Party& me, const auto& arm) {
                                  auto ring = MpmcRing::open(bytes.span(), me.context);
                                  need(ring.has_value(), 10);
                                  arm();
                                  for (int i = 0; i < 3; ++i) {
                                    auto message = ring->receive(soon());
                                    need(message.has_value(), 11);
                                    need(ring->release(*message).has_value(), 12);
                                  }
                                  need(ring->loan(soon()).has_value(), 13);
                                },
                            .check = check_mpmc});
  kill_at_every_step<Ring>("mpmc ring: reclaim what the dead held",
                           {.prepare =
                                [](Ring& bytes, const Party& us) {
                                  format_mpmc(bytes, us);
                                  const LockFile other_file;
                                  const Party dead(other_file, 9, 1, kSpins);
                                  auto theirs = MpmcRing::open(bytes.span(), dead.context);
                                  REQUIRE(theirs->send(bytes_of(std::uint64_t{1}), now()));
                                  REQUIRE(theirs->send(bytes_of(std::uint64_t{2}), now()));
                                  REQUIRE(theirs->receive(now()));
                                  REQUIRE(theirs->loan(now()));
                                  REQUIRE(theirs->loan(now()));
                                },
                            .operate =
                                [](Ring& bytes, const Party& me, const auto& arm) {
                                  auto ring = MpmcRing::open(bytes.span(), me.context);
                                  need(ring.has_value(), 10);
                                  arm();
                                  need(ring->reclaim() == 3, 11);
                                },
                            .check = check_mpmc});
  kill_at_every_step<Ring>("mpmc ring: publish and release while others sleep",
                           {.prepare = format_mpmc,
                            .operate =
                                [](Ring& bytes, const Party& me, const auto& arm) {
                                  auto ring = MpmcRing::open(bytes.span(), me.context);
                                  need(ring.has_value(), 10);
                                  usleep(3000);
                                  arm();
                                  for (std::uint64_t value = 1; value <= 5; ++value)
                                    send(*ring, value);
                                },
                            .meanwhile =
                                [](Ring& bytes, const Party& other) {
                                  auto ring = MpmcRing::open(bytes.span(), other.context);
                                  need(ring.has_value(), 20);
                                  for (std::uint64_t expected = 1; expected <= 5; ++expected) {
                                    auto message = ring->receive(Deadline::after_ms(60));
                                    if (!message) {
                                      need(message.error().code() == Code::timed_out, 21);
                                      return;
                                    }
                                    need(value_of(message->bytes) == expected, 22);
                                    need(ring->release(*message).has_value(), 23);
                                  }
                                },
                            .check = check_mpmc});
}
