// The lock and ring algorithms under every interleaving of their steps, within the bounds that
// each case states and prints. See scheduler.h for what that shows and what it does not.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "strata/sync/barrier.h"
#include "strata/sync/condition.h"
#include "strata/sync/event.h"
#include "strata/sync/mpmc_ring.h"
#include "strata/sync/robust_mutex.h"
#include "strata/sync/rw_lock.h"
#include "strata/sync/semaphore.h"
#include "strata/sync/seq_lock.h"
#include "strata/sync/spsc_ring.h"
#include "strata/sync/versioned_cell.h"
#include "tests/catch.h"
#include "tests/model/scheduler.h"
#include "tests/skip.h"
#include "tests/verified.h"

using namespace strata;
using model::kUnbounded;
using model::require;
using model::Scenario;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SKIP_UNDER_SANITIZERS() SKIP_TEST("the sanitizers lose track of a program's own stacks")
#else
#define SKIP_UNDER_SANITIZERS() static_cast<void>(0)
#endif

namespace {

Deadline soon() { return Deadline::after_ms(60'000); }
Deadline now() { return Deadline::after_ms(0); }

model::Report run(const char* name, const model::Bounds& bounds,
                  const std::function<Scenario()>& make) {
  const model::Report report = model::explore(bounds, make);
  const std::string preemptions =
      bounds.preemptions == kUnbounded ? "any number of" : std::to_string(bounds.preemptions);
  std::printf(
      "model: %s: %llu executions, %s preemptions, %u kills, up to %u steps and %u switches\n",
      name, static_cast<unsigned long long>(report.executions), preemptions.c_str(), bounds.kills,
      report.longest, report.most_switches);
  report_verified(report.executions, "interleavings");
  return report;
}

// Nobody died: nothing may fail, and nobody may need the end of a slice to wake.
void expect_right(const char* name, unsigned preemptions, const std::function<Scenario()>& make) {
  const model::Report report = run(name, {.preemptions = preemptions}, make);
  INFO(report.failure);
  CHECK(report.failure.empty());
  CHECK(report.time_passed == 0);
}

void expect_right_with_kills(const char* name, unsigned preemptions,
                             const std::function<Scenario()>& make) {
  const model::Report report = run(name, {.preemptions = preemptions, .kills = 1}, make);
  INFO(report.failure);
  CHECK(report.failure.empty());
  CHECK(report.kills > 0);
}

struct Guarded {
  RobustMutex mutex;
  int inside = 0;
  int a = 0, b = 0;
};

// Lock, change, unlock; repairs first where an owner died.
void change(Guarded& state, const SyncContext& me) {
  const auto how = state.mutex.lock(me, soon());
  require(how.has_value(), "lock failed");
  if (!how) return;
  if (*how == Acquired::owner_died) {
    state.inside = 0;
    state.b = state.a;
    require(state.mutex.mark_repaired(me).has_value(), "mark_repaired failed");
  }
  require(++state.inside == 1, "two inside");
  require(state.a == state.b, "half a change was passed on as clean");
  ++state.a;
  STRATA_STEP("between a and b");
  ++state.b;
  --state.inside;
  require(state.mutex.unlock(me).has_value(), "unlock failed");
}

Scenario contend(unsigned threads, unsigned rounds) {
  auto state = std::make_shared<Guarded>();
  Scenario scenario;
  for (unsigned i = 0; i < threads; ++i) {
    scenario.threads.push_back([=](const SyncContext& me) {
      for (unsigned round = 0; round < rounds; ++round)
        change(*state, me);
    });
  }
  scenario.check = [=](const SyncContext& us) {
    // Whatever happened, the next one can lock; half a change is told as owner_died.
    const auto how = state->mutex.lock(us, now());
    require(how.has_value(), "nobody can lock any more");
    if (how && *how == Acquired::clean) require(state->a == state->b, "half a change left clean");
  };
  return scenario;
}

}  // namespace

TEST_CASE("a_mutex_excludes_and_loses_no_wake_up") {
  SKIP_UNDER_SANITIZERS();
  expect_right("mutex, 2 threads, 1 round", kUnbounded, [] { return contend(2, 1); });
  expect_right("mutex, 2 threads, 2 rounds", 5, [] { return contend(2, 2); });
  expect_right("mutex, 3 threads, 1 round", 3, [] { return contend(3, 1); });
}

TEST_CASE("a_mutex_survives_a_holder_or_waiter_that_is_killed") {
  SKIP_UNDER_SANITIZERS();
  expect_right_with_kills("mutex, 2 threads", 4, [] { return contend(2, 1); });
  expect_right_with_kills("mutex, 3 threads", 2, [] { return contend(3, 1); });
}

namespace {

// A lock whose unlock stores instead of exchanging: a sleeper that came in between is lost.
struct ForgetfulMutex {
  SharedWord<std::uint32_t> word;  // 0 free, 1 held, 2 held and slept for
  void lock() {
    std::uint32_t free = 0;
    if (word.compare_exchange(free, 1, std::memory_order_acquire)) return;
    SlicedWait wait(soon());
    for (;;) {
      std::uint32_t seen = word.load(std::memory_order_relaxed);
      if (seen == 0 && word.compare_exchange(seen, 2, std::memory_order_acquire)) return;
      if (seen == 0) continue;
      if (seen == 1 && !word.compare_exchange(seen, 2, std::memory_order_relaxed)) continue;
      wait.sleep(word.futex(), 2);
    }
  }
  void unlock() {
    const bool has_sleepers = word.load(std::memory_order_relaxed) == 2;
    word.store(0, std::memory_order_release);
    if (has_sleepers) futex_wake(word.futex(), 1);
  }
};

}  // namespace

TEST_CASE("the_model_finds_a_lost_wake_up") {
  SKIP_UNDER_SANITIZERS();
  const model::Report report = run("an unlock that forgets sleepers, 2 threads", {}, [] {
    auto mutex = std::make_shared<ForgetfulMutex>();
    Scenario scenario;
    for (int i = 0; i < 2; ++i) {
      scenario.threads.push_back([=](const SyncContext&) {
        mutex->lock();
        mutex->unlock();
      });
    }
    return scenario;
  });
  CHECK(report.time_passed > 0);
}

namespace {

// A stack of nodes 1 to 3, popped by one thread while another pops two and pushes one back.
template <typename Head>
Scenario pop_while_others_push() {
  struct State {
    Head head;
    std::array<SharedWord<std::uint32_t>, 4> next;
    std::array<int, 4> owners{};  // how many have each node
  };
  auto state = std::make_shared<State>();
  state->next[1].store(2, std::memory_order_relaxed);
  state->next[2].store(3, std::memory_order_relaxed);
  state->head.reset(1);
  const auto pop = [=]() -> std::uint32_t {
    for (;;) {
      auto seen = state->head.load();
      const auto node = static_cast<std::uint32_t>(Head::node(seen));
      if (node == 0) return 0;
      const std::uint32_t next = state->next[node].load(std::memory_order_relaxed);
      if (!state->head.swap(seen, next)) continue;
      require(++state->owners[node] == 1, "two have popped one node");
      return node;
    }
  };
  const auto push = [=](std::uint32_t node) {
    --state->owners[node];
    for (;;) {
      auto seen = state->head.load();
      state->next[node].store(static_cast<std::uint32_t>(Head::node(seen)),
                              std::memory_order_relaxed);
      if (state->head.swap(seen, node)) return;
    }
  };
  Scenario scenario;
  scenario.threads.push_back([=](const SyncContext&) {
    pop();
    pop();
  });
  scenario.threads.push_back([=](const SyncContext&) {
    const std::uint32_t first = pop();
    pop();  // kept
    if (first != 0) push(first);
  });
  return scenario;
}

struct PlainHead {
  SharedWord<std::uint64_t> word;
  void reset(std::uint64_t node) { word.store(node, std::memory_order_relaxed); }
  std::uint64_t load() const { return word.load(std::memory_order_acquire); }
  static std::uint64_t node(std::uint64_t seen) { return seen; }
  bool swap(std::uint64_t& seen, std::uint64_t to) {
    return word.compare_exchange(seen, to, std::memory_order_acq_rel);
  }
};

struct VersionedHead {
  VersionedCell cell;
  void reset(std::uint64_t node) {
    auto seen = cell.load();
    cell.compare_exchange(seen, node);
  }
  VersionedCell::Snapshot load() const { return cell.load(); }
  static std::uint64_t node(const VersionedCell::Snapshot& seen) { return seen.value; }
  bool swap(VersionedCell::Snapshot& seen, std::uint64_t to) {
    return cell.compare_exchange(seen, to);
  }
};

}  // namespace

TEST_CASE("without_versions_a_value_that_came_back_breaks_a_stack_and_with_them_it_does_not") {
  SKIP_UNDER_SANITIZERS();
  const model::Report plain =
      run("stack without versions", {.preemptions = 3}, pop_while_others_push<PlainHead>);
  CHECK(plain.failure.find("two have popped one node") == 0);
  expect_right("stack with versions", 3, pop_while_others_push<VersionedHead>);
}

TEST_CASE("an_event_loses_no_waiter") {
  SKIP_UNDER_SANITIZERS();
  const auto make = [] {
    auto event = std::make_shared<Event>();
    Scenario scenario;
    for (int i = 0; i < 2; ++i) {
      scenario.threads.push_back([=](const SyncContext& me) {
        require(event->wait(me, soon()).has_value(), "wait failed");
      });
    }
    scenario.threads.push_back([=](const SyncContext& me) { event->set(me); });
    return scenario;
  };
  expect_right("event, 2 waiters, 1 setter", 5, make);
}

TEST_CASE("a_condition_loses_no_notification") {
  SKIP_UNDER_SANITIZERS();
  const auto make = [] {
    struct State {
      RobustMutex mutex;
      Condition changed;
      int items = 0;
    };
    auto state = std::make_shared<State>();
    Scenario scenario;
    scenario.threads.push_back([=](const SyncContext& me) {
      require(state->mutex.lock(me, soon()).has_value(), "lock failed");
      while (state->items == 0) {
        const auto woken = state->changed.wait(me, state->mutex, soon());
        require(woken.has_value(), "wait failed");
        if (!woken) return;
      }
      --state->items;
      require(state->mutex.unlock(me).has_value(), "unlock failed");
    });
    scenario.threads.push_back([=](const SyncContext& me) {
      require(state->mutex.lock(me, soon()).has_value(), "lock failed");
      ++state->items;
      require(state->mutex.unlock(me).has_value(), "unlock failed");
      state->changed.notify_one();
    });
    return scenario;
  };
  expect_right("condition, 1 waiter, 1 notifier", 5, make);
}

TEST_CASE("a_semaphore_hands_out_each_permit_once_and_loses_no_wake_up") {
  SKIP_UNDER_SANITIZERS();
  struct State {
    Semaphore semaphore{1};
    int inside = 0;
  };
  const auto make = [] {
    auto state = std::make_shared<State>();
    Scenario scenario;
    for (int i = 0; i < 2; ++i) {
      scenario.threads.push_back([=](const SyncContext& me) {
        const auto permit = state->semaphore.acquire(me, soon());
        require(permit.has_value(), "acquire failed");
        if (!permit) return;
        if (permit->how == Acquired::owner_died) state->inside = 0;
        require(++state->inside == 1, "two have the one permit");
        STRATA_STEP("with the permit");
        --state->inside;
        require(state->semaphore.release(me, *permit).has_value(), "release failed");
      });
    }
    return scenario;
  };
  expect_right("semaphore, 2 threads", 5, make);
  expect_right_with_kills("semaphore, 2 threads", 2, [] {
    auto state = std::make_shared<State>();
    Scenario scenario;
    for (int i = 0; i < 2; ++i) {
      scenario.threads.push_back([=](const SyncContext& me) {
        const auto permit = state->semaphore.acquire(me, soon());
        require(permit.has_value(), "acquire failed");
        if (permit) require(state->semaphore.release(me, *permit).has_value(), "release failed");
      });
    }
    scenario.check = [=](const SyncContext& us) {
      require(state->semaphore.acquire(us, now()).has_value(), "the permit is gone");
    };
    return scenario;
  });
}

TEST_CASE("a_barrier_lets_nobody_through_early_and_nobody_wait_for_ever") {
  SKIP_UNDER_SANITIZERS();
  const auto make = [] {
    struct State {
      Barrier barrier{2};
      std::array<int, 2> arrived{};
    };
    auto state = std::make_shared<State>();
    Scenario scenario;
    for (int i = 0; i < 2; ++i) {
      scenario.threads.push_back([=](const SyncContext& me) {
        const auto seat = state->barrier.join(me);
        require(seat.has_value(), "join failed");
        if (!seat) return;
        for (int phase = 1; phase <= 2; ++phase) {
          state->arrived[i] = phase;
          const auto passed = state->barrier.arrive_and_wait(me, *seat, soon());
          require(passed.has_value(), "wait failed");
          require(state->arrived[1 - i] >= phase, "passed before the other one had arrived");
        }
      });
    }
    return scenario;
  };
  expect_right("barrier, 2 threads, 2 phases", 3, make);
}

TEST_CASE("an_rw_lock_admits_readers_or_a_writer") {
  SKIP_UNDER_SANITIZERS();
  struct State {
    RwLock lock;
    int a = 0, b = 0;
  };
  const auto make = [](bool with_deaths) {
    auto state = std::make_shared<State>();
    Scenario scenario;
    scenario.threads.push_back([=](const SyncContext& me) {
      const auto hold = state->lock.lock_shared(me, soon());
      if (!hold) {
        require(with_deaths && hold.error().code() == Code::not_ready, "read lock failed");
        return;
      }
      require(state->a == state->b, "read half a write");
      STRATA_STEP("reading");
      require(state->a == state->b, "read half a write");
      require(state->lock.unlock_shared(me, *hold).has_value(), "read unlock failed");
    });
    scenario.threads.push_back([=](const SyncContext& me) {
      require(state->lock.lock(me, soon()).has_value(), "write lock failed");
      ++state->a;
      STRATA_STEP("writing");
      ++state->b;
      require(state->lock.unlock(me).has_value(), "write unlock failed");
    });
    scenario.check = [=](const SyncContext& us) {
      require(state->lock.lock(us, now()).has_value(), "nobody can write any more");
    };
    return scenario;
  };
  expect_right("rw lock, 1 reader, 1 writer", 2, [&] { return make(false); });
  expect_right_with_kills("rw lock, 1 reader, 1 writer", 1, [&] { return make(true); });
}

TEST_CASE("a_seqlock_never_gives_half_a_write") {
  SKIP_UNDER_SANITIZERS();
  struct Pair {
    std::uint64_t a = 0, b = 0;
  };
  const auto make = [](bool with_deaths) {
    auto cell = std::make_shared<SeqCell<Pair>>();
    Scenario scenario;
    scenario.threads.push_back([=](const SyncContext& me) {
      const auto pair = cell->read(me, soon());
      if (!pair) {
        require(with_deaths && pair.error().code() == Code::not_ready, "read failed");
        return;
      }
      require(pair->a == pair->b, "read half a write");
    });
    scenario.threads.push_back([=](const SyncContext& me) {
      for (std::uint64_t i = 1; i <= 2; ++i)
        require(cell->write(me, {i, i}, soon()).has_value(), "write failed");
    });
    scenario.check = [=](const SyncContext& us) {
      require(cell->write(us, {9, 9}, now()).has_value(), "nobody can write any more");
      require(cell->read(us, now()).has_value(), "nobody can read any more");
    };
    return scenario;
  };
  // A reader leaves no mark and is not woken: time may have to pass for it.
  const model::Report report =
      run("seqlock, 1 reader, 2 writes", {.preemptions = 4}, [&] { return make(false); });
  INFO(report.failure);
  CHECK(report.failure.empty());
}

namespace {

struct alignas(64) RingBytes {
  std::byte data[1024] = {};
  std::span<std::byte> span() { return data; }
};

std::span<const std::byte> bytes_of(const std::uint64_t& value) {
  return std::as_bytes(std::span(&value, 1));
}

std::uint64_t value_of(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof(value)));
  return value;
}

}  // namespace

TEST_CASE("an_spsc_ring_passes_every_message_once_in_order") {
  SKIP_UNDER_SANITIZERS();
  const auto make = [] {
    auto bytes = std::make_shared<RingBytes>();
    require(format_spsc_ring(bytes->span(), {2, 8}).has_value(), "format failed");
    Scenario scenario;
    scenario.threads.push_back([=](const SyncContext& me) {
      auto producer = SpscProducer::open(bytes->span(), me);
      require(producer.has_value(), "open failed");
      for (std::uint64_t i = 1; i <= 3; ++i)
        require(producer->send(bytes_of(i), soon()).has_value(), "send failed");
    });
    scenario.threads.push_back([=](const SyncContext& me) {
      auto consumer = SpscConsumer::open(bytes->span(), me);
      require(consumer.has_value(), "open failed");
      for (std::uint64_t i = 1; i <= 3; ++i) {
        const auto message = consumer->receive(soon());
        require(message.has_value() && value_of(*message) == i, "lost, doubled or out of order");
        if (!message) return;
        require(consumer->release().has_value(), "release failed");
      }
    });
    return scenario;
  };
  expect_right("spsc ring of 2 slots, 3 messages", 3, make);
}

namespace {

struct Mpmc {
  RingBytes bytes;
  std::array<int, 8> received{};
  std::vector<std::uint64_t> order;
};

std::function<void(const SyncContext&)> produce(std::shared_ptr<Mpmc> state,
                                                std::vector<std::uint64_t> values) {
  return [=](const SyncContext& me) {
    auto ring = MpmcRing::open(state->bytes.span(), me);
    for (const std::uint64_t value : values)
      require(ring->send(bytes_of(value), soon()).has_value(), "send failed");
  };
}

std::function<void(const SyncContext&)> consume(std::shared_ptr<Mpmc> state, int count) {
  return [=](const SyncContext& me) {
    auto ring = MpmcRing::open(state->bytes.span(), me);
    for (int i = 0; i < count; ++i) {
      auto message = ring->receive(Deadline::after_ms(200));
      if (!message) {
        require(message.error().code() == Code::timed_out, "receive failed");
        continue;
      }
      const std::uint64_t value = value_of(message->bytes);
      require(value >= 1 && value < 8 && ++state->received[value] == 1, "received twice or torn");
      state->order.push_back(value);
      require(ring->release(*message).has_value(), "release failed");
    }
  };
}

std::shared_ptr<Mpmc> make_mpmc(std::uint32_t slots) {
  auto state = std::make_shared<Mpmc>();
  require(format_mpmc_ring(state->bytes.span(), {slots, 8}).has_value(), "format failed");
  return state;
}

// Everything sent is received or still there, and the ring works on.
void check_mpmc(Mpmc& state, const SyncContext& us, int sent, bool with_deaths) {
  auto ring = MpmcRing::open(state.bytes.span(), us);
  int total = 0;
  while (auto message = ring->receive(now())) {
    require(++state.received[value_of(message->bytes)] == 1, "received twice");
    require(ring->release(*message).has_value(), "release failed");
  }
  for (const int times : state.received)
    total += times;
  require(with_deaths || total == sent, "a message is lost");
  std::vector<MpmcRing::Loan> loans;
  for (;;) {
    auto loan = ring->loan(now());
    if (!loan) break;
    loans.push_back(*loan);
  }
  require(loans.size() == 2, "a slot is lost");
  for (auto& loan : loans)
    require(ring->publish(loan, 8).has_value(), "nobody can publish any more");
  for (std::size_t i = 0; i < loans.size(); ++i) {
    auto message = ring->receive(now());
    require(message.has_value() && ring->release(*message).has_value(), "nobody can receive");
  }
  require(ring->check().has_value(), "check failed");
}

}  // namespace

TEST_CASE("a_shared_ring_passes_every_message_once_in_order") {
  SKIP_UNDER_SANITIZERS();
  expect_right("mpmc ring of 2 slots, 2 producers, 1 consumer", 2, [] {
    auto state = make_mpmc(2);
    return Scenario{{produce(state, {1}), produce(state, {2}), consume(state, 2)},
                    [=](const SyncContext& us) { check_mpmc(*state, us, 2, false); }};
  });
  expect_right("mpmc ring of 2 slots, 1 producer, 2 consumers", 2, [] {
    auto state = make_mpmc(2);
    return Scenario{{produce(state, {1, 2}), consume(state, 1), consume(state, 1)},
                    [=](const SyncContext& us) { check_mpmc(*state, us, 2, false); }};
  });
  expect_right("mpmc ring of 2 slots, 1 producer, 1 consumer, 3 messages", 3, [] {
    auto state = make_mpmc(2);
    return Scenario{{produce(state, {1, 2, 3}), consume(state, 3)}, [=](const SyncContext& us) {
                      require(state->order == std::vector<std::uint64_t>{1, 2, 3}, "out of order");
                      check_mpmc(*state, us, 3, false);
                    }};
  });
}

TEST_CASE("a_shared_ring_goes_on_when_a_producer_or_consumer_is_killed") {
  SKIP_UNDER_SANITIZERS();
  expect_right_with_kills("mpmc ring of 2 slots, 2 producers, 1 consumer", 1, [] {
    auto state = make_mpmc(2);
    return Scenario{{produce(state, {1}), produce(state, {2}), consume(state, 2)},
                    [=](const SyncContext& us) { check_mpmc(*state, us, 2, true); }};
  });
  expect_right_with_kills("mpmc ring of 2 slots, 1 producer, 2 consumers", 1, [] {
    auto state = make_mpmc(2);
    return Scenario{{produce(state, {1, 2}), consume(state, 1), consume(state, 1)},
                    [=](const SyncContext& us) { check_mpmc(*state, us, 2, true); }};
  });
}
