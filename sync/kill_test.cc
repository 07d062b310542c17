// Kills a process by SIGKILL at every step of every operation of every primitive, and lets others
// go on. A step is any access to a SharedWord, and whatever else STRATA_STEP marks.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "base/step.h"
#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/mpmc_ring.h"
#include "sync/published.h"
#include "sync/robust_mutex.h"
#include "sync/rw_lock.h"
#include "sync/semaphore.h"
#include "sync/seq_lock.h"
#include "sync/sharded.h"
#include "sync/spsc_ring.h"
#include "sync/testing.h"
#include "sync/versioned_cell.h"
#include "tests/catch.h"
#include "tests/verified.h"

using namespace strata;
using namespace strata::test;

namespace {

// Few, so that the steps of a spin are not counted hundreds of times.
constexpr std::uint32_t kSpins = 1;

Deadline soon() { return Deadline::after_ms(60'000); }
Deadline now() { return Deadline::after_ms(0); }

// The words of `where` as they are, without taking a step.
std::uint64_t peek(const void* where) {
  return __atomic_load_n(static_cast<const std::uint64_t*>(where), __ATOMIC_SEQ_CST);
}

// In a child: `ok`, or the child ends with `code`, which fails the test.
void need(bool ok, int code) {
  if (!ok) _exit(code);
}

void record(const char* name, std::uint64_t points) {
  std::printf("kill points: %llu (%s)\n", static_cast<unsigned long long>(points), name);
  report_verified(points, "kill points");
}

template <typename State>
struct Play {
  // By the test's own process, token 1, before the doomed one starts.
  std::function<void(State&, const Party& us)> prepare = [](State&, const Party&) {};
  // By the doomed process, token 2. Its steps count from arm() on.
  std::function<void(State&, const Party& me, const std::function<void()>& arm)> operate = {};
  // By others, token 3, that were there before and have to come to their end; none if empty.
  std::function<void(State&, const Party& other)> meanwhile = {};
  // By the test's own process, after all that.
  std::function<void(State&, const Party& us)> check = {};
};

// Once for every step of `operate`, until it comes to its end alive.
template <typename State>
void kill_at_every_step(const char* name, const Play<State>& play) {
  for (std::uint64_t n = 1;; ++n) {
    const LockFile file;
    const Shared<State> state;
    const Party us(file, 1, 1, kSpins);
    play.prepare(*state, us);
    pid_t other = 0;
    if (play.meanwhile) {
      other = start_child([&] { play.meanwhile(*state, Party(file, 3, 1, kSpins)); });
    }
    const int status = in_child([&] {
      const Party me(file, 2, 1, kSpins);
      play.operate(*state, me, [n] { kill_at_step(n); });
      kill_at_step(0);
    });
    INFO(name << ", step " << n << ", status " << status);
    REQUIRE((was_killed(status) || status == 0));
    if (other != 0) REQUIRE(wait_for(other) == 0);
    play.check(*state, us);
    if (!was_killed(status)) {
      REQUIRE(n > 1);  // an operation without a step would prove nothing
      return record(name, n - 1);
    }
  }
}

// Two numbers that are equal whenever nobody is in the middle of changing them.
struct Guarded {
  RobustMutex mutex;
  std::uint64_t a = 0, b = 0;
  std::atomic<int> go{0};

  void change() {
    STRATA_STEP("before a");
    ++a;
    STRATA_STEP("between a and b");
    ++b;
    STRATA_STEP("after b");
  }
  bool is_asleep() const { return (peek(&mutex) & lock_word::kSleepers) != 0; }
};

// Takes the mutex, repairs what a dead one left, and gives it back: 0 where all is as promised.
int take_over(Guarded& state, const Party& me) {
  const auto how = state.mutex.lock(me.context, soon());
  if (!how) return 1;
  if (*how == Acquired::clean && state.a != state.b) return 2;
  state.b = state.a;
  if (!state.mutex.mark_repaired(me.context)) return 3;
  return state.mutex.unlock(me.context) ? 0 : 4;
}

void check_mutex(Guarded& state, const Party& us) {
  CHECK(take_over(state, us) == 0);
  REQUIRE(state.mutex.lock(us.context, soon()).value() == Acquired::clean);
  CHECK(state.a == state.b);
  REQUIRE(state.mutex.unlock(us.context));
  CHECK(state.mutex.check());
}

}  // namespace

TEST_CASE("a_process_killed_at_any_step_of_a_mutex_stops_nobody") {
  const auto lock_change_unlock = [](Guarded& state, const Party& me) {
    const auto how = state.mutex.lock(me.context, soon());
    need(how.has_value(), 10);
    if (*how == Acquired::owner_died) {
      state.b = state.a;
      need(state.mutex.mark_repaired(me.context).has_value(), 11);
    }
    state.change();
    need(state.mutex.unlock(me.context).has_value(), 12);
  };
  kill_at_every_step<Guarded>("mutex: lock, change, unlock",
                              {.operate =
                                   [&](Guarded& state, const Party& me, const auto& arm) {
                                     arm();
                                     lock_change_unlock(state, me);
                                   },
                               .check = check_mutex});
  kill_at_every_step<Guarded>("mutex: lock after an owner died, repair, unlock",
                              {.prepare =
                                   [](Guarded& state, const Party&) {
                                     // Token 9 is nobody's, and died between a and b.
                                     state.a = 1;
                                     const std::uint64_t dead = std::uint64_t{1} << 32 | 9;
                                     std::memcpy(static_cast<void*>(&state), &dead, 8);
                                   },
                               .operate =
                                   [&](Guarded& state, const Party& me, const auto& arm) {
                                     arm();
                                     lock_change_unlock(state, me);
                                   },
                               .check = check_mutex});
  kill_at_every_step<Guarded>("mutex: unlock while another one sleeps",
                              {.operate =
                                   [&](Guarded& state, const Party& me, const auto& arm) {
                                     need(state.mutex.lock(me.context, soon()).has_value(), 10);
                                     state.go = 1;
                                     wait_until([&] { return state.is_asleep(); });
                                     arm();
                                     need(state.mutex.unlock(me.context).has_value(), 11);
                                   },
                               .meanwhile =
                                   [](Guarded& state, const Party& other) {
                                     wait_until([&] { return state.go == 1; });
                                     need(take_over(state, other) == 0, 20);
                                   },
                               .check = check_mutex});
  kill_at_every_step<Guarded>("mutex: wait until the deadline",
                              {.prepare =
                                   [](Guarded& state, const Party& us) {
                                     state.mutex.count_contention();
                                     REQUIRE(state.mutex.lock(us.context, soon()));
                                   },
                               .operate =
                                   [](Guarded& state, const Party& me, const auto& arm) {
                                     arm();
                                     need(!state.mutex.lock(me.context, Deadline::after_ms(2)), 10);
                                   },
                               .check =
                                   [](Guarded& state, const Party& us) {
                                     REQUIRE(state.mutex.unlock(us.context));
                                     check_mutex(state, us);
                                   }});
  kill_at_every_step<Guarded>("mutex: sleep, then lock",
                              {.operate =
                                   [&](Guarded& state, const Party& me, const auto& arm) {
                                     wait_until([&] { return state.go == 1; });
                                     arm();
                                     lock_change_unlock(state, me);
                                   },
                               .meanwhile =
                                   [](Guarded& state, const Party& other) {
                                     state.mutex.count_contention();
                                     need(state.mutex.lock(other.context, soon()).has_value(), 20);
                                     state.go = 1;
                                     usleep(2000);
                                     need(state.mutex.unlock(other.context).has_value(), 21);
                                   },
                               .check = check_mutex});
}

namespace {

struct Reading {
  RwLock lock;
  std::uint64_t a = 0, b = 0;
  std::atomic<int> go{0};
};

void check_rw(Reading& state, const Party& us) {
  const auto how = state.lock.lock(us.context, soon());
  REQUIRE(how);
  if (*how == Acquired::clean) CHECK(state.a == state.b);
  state.b = state.a;
  REQUIRE(state.lock.mark_repaired(us.context));
  REQUIRE(state.lock.unlock(us.context));
  const auto hold = state.lock.lock_shared(us.context, soon());
  REQUIRE(hold);
  CHECK(state.lock.readers(us.context) == 1);
  REQUIRE(state.lock.unlock_shared(us.context, *hold));
  REQUIRE(state.lock.lock(us.context, soon()).value() == Acquired::clean);
  REQUIRE(state.lock.unlock(us.context));
}

}  // namespace

TEST_CASE("a_process_killed_at_any_step_of_an_rw_lock_stops_nobody") {
  kill_at_every_step<Reading>(
      "rw lock: read", {.operate =
                            [](Reading& state, const Party& me, const auto& arm) {
                              arm();
                              const auto hold = state.lock.lock_shared(me.context, soon());
                              need(hold.has_value(), 10);
                              need(state.lock.unlock_shared(me.context, *hold).has_value(), 11);
                            },
                        .check = check_rw});
  kill_at_every_step<Reading>("rw lock: write",
                              {.operate =
                                   [](Reading& state, const Party& me, const auto& arm) {
                                     arm();
                                     need(state.lock.lock(me.context, soon()).has_value(), 10);
                                     STRATA_STEP("before a");
                                     ++state.a;
                                     STRATA_STEP("between a and b");
                                     ++state.b;
                                     need(state.lock.unlock(me.context).has_value(), 11);
                                   },
                               .check = check_rw});
  kill_at_every_step<Reading>("rw lock: stop reading while a writer waits",
                              {.operate =
                                   [](Reading& state, const Party& me, const auto& arm) {
                                     const auto hold = state.lock.lock_shared(me.context, soon());
                                     need(hold.has_value(), 10);
                                     state.go = 1;
                                     usleep(3000);
                                     arm();
                                     need(state.lock.unlock_shared(me.context, *hold).has_value(),
                                          11);
                                   },
                               .meanwhile =
                                   [](Reading& state, const Party& other) {
                                     wait_until([&] { return state.go == 1; });
                                     const auto how = state.lock.lock(other.context, soon());
                                     need(how.has_value() && *how == Acquired::clean, 20);
                                     need(state.lock.unlock(other.context).has_value(), 21);
                                   },
                               .check = check_rw});
  kill_at_every_step<Reading>(
      "rw lock: stop writing while a reader waits",
      {.operate =
           [](Reading& state, const Party& me, const auto& arm) {
             need(state.lock.lock(me.context, soon()).has_value(), 10);
             state.go = 1;
             usleep(3000);
             arm();
             need(state.lock.unlock(me.context).has_value(), 11);
           },
       .meanwhile =
           [](Reading& state, const Party& other) {
             wait_until([&] { return state.go == 1; });
             const auto hold = state.lock.lock_shared(other.context, soon());
             if (hold) {
               need(state.lock.unlock_shared(other.context, *hold).has_value(), 20);
             } else {
               need(hold.error().code() == Code::not_ready, 21);
             }
           },
       .check = check_rw});
  kill_at_every_step<Reading>(
      "rw lock: wait to read, wait to write",
      {.prepare = [](Reading& state,
                     const Party& us) { REQUIRE(state.lock.lock(us.context, soon())); },
       .operate =
           [](Reading& state, const Party& me, const auto& arm) {
             arm();
             need(!state.lock.lock_shared(me.context, Deadline::after_ms(2)), 10);
             need(!state.lock.lock(me.context, Deadline::after_ms(2)), 11);
           },
       .check =
           [](Reading& state, const Party& us) {
             REQUIRE(state.lock.unlock(us.context));
             check_rw(state, us);
           }});
  kill_at_every_step<Reading>("rw lock: write after a reader and a writer died",
                              {.prepare =
                                   [](Reading& state, const Party&) {
                                     const std::uint64_t dead = std::uint64_t{1} << 32 | 9;
                                     std::memcpy(static_cast<void*>(&state), &dead, 8);
                                     std::memcpy(reinterpret_cast<std::byte*>(&state) + 128, &dead,
                                                 8);
                                     state.a = 1;
                                   },
                               .operate =
                                   [](Reading& state, const Party& me, const auto& arm) {
                                     arm();
                                     const auto how = state.lock.lock(me.context, soon());
                                     need(how.has_value() && *how == Acquired::owner_died, 10);
                                     state.b = state.a;
                                     need(state.lock.mark_repaired(me.context).has_value(), 11);
                                     need(state.lock.unlock(me.context).has_value(), 12);
                                   },
                               .check = check_rw});
}

namespace {

struct Signals {
  Event event;
  RobustMutex mutex;
  Condition changed;
  int value = 0;
  std::atomic<int> go{0};
};

}  // namespace

TEST_CASE("a_process_killed_at_any_step_of_an_event_or_condition_stops_nobody") {
  kill_at_every_step<Signals>(
      "event: set while another one sleeps",
      {.operate =
           [](Signals& state, const Party& me, const auto& arm) {
             wait_until([&] { return (peek(&state.event) & 2) != 0; });
             arm();
             state.event.set(me.context);
           },
       .meanwhile =
           [](Signals& state, const Party& other) {
             // A killed setter has set it or has not; then the deadline ends the sleep.
             const auto woken = state.event.wait(other.context, Deadline::after_ms(60));
             need(woken.has_value() || !state.event.is_set(other.context), 20);
           },
       .check =
           [](Signals& state, const Party& us) {
             state.event.set(us.context);
             CHECK(state.event.wait(us.context, now()));
           }});
  kill_at_every_step<Signals>("event: wait, reset",
                              {.operate =
                                   [](Signals& state, const Party& me, const auto& arm) {
                                     arm();
                                     need(!state.event.wait(me.context, Deadline::after_ms(2)), 10);
                                     state.event.set(me.context);
                                     state.event.reset(me.context);
                                   },
                               .check =
                                   [](Signals& state, const Party& us) {
                                     CHECK(state.event.check());
                                     state.event.set(us.context);
                                     CHECK(state.event.wait(us.context, now()));
                                     state.event.reset(us.context);
                                     CHECK_FALSE(state.event.is_set(us.context));
                                   }});
  const auto check = [](Signals& state, const Party& us) {
    REQUIRE(state.mutex.lock(us.context, soon()));
    REQUIRE(state.mutex.mark_repaired(us.context));
    const auto outcome = state.changed.wait(us.context, state.mutex, Deadline::after_ms(1));
    REQUIRE(outcome);
    REQUIRE(state.mutex.unlock(us.context));
  };
  kill_at_every_step<Signals>("condition: notify while another one sleeps",
                              {.operate =
                                   [](Signals& state, const Party& me, const auto& arm) {
                                     wait_until([&] { return state.go == 1; });
                                     usleep(2000);
                                     need(state.mutex.lock(me.context, soon()).has_value(), 10);
                                     state.value = 1;
                                     arm();
                                     state.changed.notify_one();
                                     state.changed.notify_all();
                                     need(state.mutex.unlock(me.context).has_value(), 11);
                                   },
                               .meanwhile =
                                   [](Signals& state, const Party& other) {
                                     need(state.mutex.lock(other.context, soon()).has_value(), 20);
                                     state.go = 1;
                                     while (state.value == 0) {
                                       // Where the notifier died before it notified, only the
                                       // deadline ends the sleep.
                                       const auto outcome = state.changed.wait(
                                           other.context, state.mutex, Deadline::after_ms(50));
                                       need(outcome.has_value(), 21);
                                     }
                                     need(state.mutex.mark_repaired(other.context).has_value(), 22);
                                     need(state.mutex.unlock(other.context).has_value(), 23);
                                   },
                               .check = check});
  kill_at_every_step<Signals>(
      "condition: wait",
      {.operate =
           [](Signals& state, const Party& me, const auto& arm) {
             need(state.mutex.lock(me.context, soon()).has_value(), 10);
             arm();
             need(state.changed.wait(me.context, state.mutex, Deadline::after_ms(2)).has_value(),
                  11);
             need(state.mutex.unlock(me.context).has_value(), 12);
           },
       .check = check});
}

namespace {

struct Permits {
  Semaphore semaphore{1};
  std::atomic<int> go{0};
};

struct Meeting {
  Barrier barrier{2};
  std::atomic<int> go{0};
};

}  // namespace

TEST_CASE("a_process_killed_at_any_step_of_a_semaphore_stops_nobody") {
  const auto check = [](Permits& state, const Party& us) {
    const auto permit = state.semaphore.acquire(us.context, soon());
    REQUIRE(permit);
    CHECK(state.semaphore.free_permits(us.context) == 0);
    REQUIRE(state.semaphore.release(us.context, *permit));
    CHECK(state.semaphore.free_permits(us.context) == 1);
  };
  kill_at_every_step<Permits>(
      "semaphore: acquire, release",
      {.operate =
           [](Permits& state, const Party& me, const auto& arm) {
             arm();
             const auto permit = state.semaphore.acquire(me.context, soon());
             need(permit.has_value(), 10);
             need(state.semaphore.release(me.context, *permit).has_value(), 11);
           },
       .check = check});
  kill_at_every_step<Permits>(
      "semaphore: release while another one sleeps",
      {.operate =
           [](Permits& state, const Party& me, const auto& arm) {
             const auto permit = state.semaphore.acquire(me.context, soon());
             need(permit.has_value(), 10);
             state.go = 1;
             usleep(3000);
             arm();
             need(state.semaphore.release(me.context, *permit).has_value(), 11);
           },
       .meanwhile =
           [](Permits& state, const Party& other) {
             wait_until([&] { return state.go == 1; });
             const auto permit = state.semaphore.acquire(other.context, soon());
             need(permit.has_value(), 20);
             need(state.semaphore.release(other.context, *permit).has_value(), 21);
           },
       .check = check});
  kill_at_every_step<Permits>(
      "semaphore: wait for a dead one's permit",
      {.prepare =
           [](Permits& state, const Party&) {
             const std::uint64_t dead = std::uint64_t{1} << 32 | 9;
             std::memcpy(reinterpret_cast<std::byte*>(&state) + 16, &dead, 8);
           },
       .operate =
           [](Permits& state, const Party& me, const auto& arm) {
             arm();
             const auto permit = state.semaphore.acquire(me.context, soon());
             need(permit.has_value() && permit->how == Acquired::owner_died, 10);
             need(state.semaphore.release(me.context, *permit).has_value(), 11);
           },
       .check = check});
}

TEST_CASE("a_process_killed_at_any_step_of_a_barrier_is_reported_or_has_arrived") {
  kill_at_every_step<Meeting>(
      "barrier: join, arrive, wait, leave",
      {.operate =
           [](Meeting& state, const Party& me, const auto& arm) {
             arm();
             const auto seat = state.barrier.join(me.context);
             need(seat.has_value(), 10);
             need(state.barrier.arrive_and_wait(me.context, *seat, soon()).has_value(), 11);
             need(state.barrier.leave(me.context, *seat).has_value(), 12);
           },
       .meanwhile =
           [](Meeting& state, const Party& other) {
             const auto seat = state.barrier.join(other.context);
             need(seat.has_value(), 20);
             const auto arrival = state.barrier.arrive(other.context, *seat);
             need(arrival.has_value(), 21);
             // It passes, or is told who died, or that nobody joined. It never hangs.
             const auto passed =
                 state.barrier.wait(other.context, *arrival, Deadline::after_ms(100));
             if (!passed) {
               need(passed.error().code() == Code::failed_precondition ||
                        passed.error().code() == Code::timed_out,
                    22);
               // Whoever joins in the dead one's place sets it going again.
               const auto theirs = state.barrier.join(other.context);
               need(theirs.has_value() && *theirs != *seat, 23);
               need(state.barrier.arrive(other.context, *theirs).has_value(), 24);
               need(state.barrier.wait(other.context, *arrival, soon()).has_value(), 25);
             }
           },
       .check = [](Meeting& state, const Party&) { CHECK(state.barrier.check()); }});
}

namespace {

struct Cells {
  struct Pair {
    std::uint64_t a = 0, b = 0;
  };
  SeqCell<Pair> pair;
  VersionedCell versioned;
  ShardedCounter<4> counter;
  Published published;
  std::uint64_t data = 0;
};

}  // namespace

TEST_CASE("a_process_killed_at_any_step_of_a_cell_leaves_old_or_new") {
  const auto check_pair = [](Cells& state, const Party& us) {
    const auto before = state.pair.read(us.context, Deadline::after_ms(1));
    if (before) {
      CHECK(before->a == before->b);
    } else {
      CHECK(before.error().code() == Code::not_ready);
    }
    REQUIRE(state.pair.write(us.context, {7, 7}, soon()));
    const auto after = state.pair.read(us.context, now());
    REQUIRE(after);
    CHECK((after->a == 7 && after->b == 7));
    CHECK(state.pair
              .update(
                  us.context, [](Cells::Pair& pair) { ++pair.a, ++pair.b; }, soon())
              .value() == Acquired::clean);
  };
  kill_at_every_step<Cells>(
      "seqlock: write", {.operate =
                             [](Cells& state, const Party& me, const auto& arm) {
                               arm();
                               need(state.pair.write(me.context, {3, 3}, soon()).has_value(), 10);
                             },
                         .check = check_pair});
  kill_at_every_step<Cells>("seqlock: update after a writer died in the middle",
                            {.prepare =
                                 [](Cells& state, const Party&) {
                                   const std::uint64_t dead = std::uint64_t{1} << 32 | 9, odd = 5,
                                                       torn = 1;
                                   auto* bytes = reinterpret_cast<std::byte*>(&state.pair);
                                   std::memcpy(bytes, &dead, 8);
                                   std::memcpy(bytes + 64, &odd, 8);
                                   std::memcpy(bytes + 128, &torn, 8);
                                 },
                             .operate =
                                 [](Cells& state, const Party& me, const auto& arm) {
                                   arm();
                                   const auto how = state.pair.update(
                                       me.context,
                                       [](Cells::Pair& pair) {
                                         pair = {4, 4};
                                       },
                                       soon());
                                   need(how.has_value() && *how == Acquired::owner_died, 10);
                                 },
                             .check = check_pair});
  kill_at_every_step<Cells>("seqlock: read",
                            {.operate =
                                 [](Cells& state, const Party& me, const auto& arm) {
                                   arm();
                                   need(state.pair.read(me.context, soon()).has_value(), 10);
                                 },
                             .check = check_pair});
  kill_at_every_step<Cells>(
      "versioned cell, sharded counter, published word",
      {.operate =
           [](Cells& state, const Party&, const auto& arm) {
             arm();
             auto seen = state.versioned.load();
             need(state.versioned.compare_exchange(seen, 5), 10);
             state.counter.add(1);
             state.data = 42;
             state.published.publish(1);
           },
       .check =
           [](Cells& state, const Party&) {
             const auto seen = state.versioned.load();
             CHECK(seen.value == (seen.version == 0 ? 0 : 5));
             CHECK((seen.version == 1 || state.counter.total() == 0));
             CHECK((state.counter.total() == 1 || state.published.consume() == 0));
             if (state.published.consume() == 1) CHECK(state.data == 42);
           }});
}

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
