// Kills at every step of what processes wait for: Event, Condition, Semaphore, CountingSemaphore,
// Barrier.
#include <atomic>
#include <cstring>

#include "strata/sync/barrier.h"
#include "strata/sync/condition.h"
#include "strata/sync/counting_semaphore.h"
#include "strata/sync/event.h"
#include "strata/sync/semaphore.h"
#include "sync/kill_testing.h"

using namespace strata;
using namespace strata::test;

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

TEST_CASE("a_process_killed_at_any_step_of_a_counting_semaphore_stops_nobody") {
  struct Count {
    CountingSemaphore semaphore{1};
    std::atomic<int> go{0};
  };
  kill_at_every_step<Count>("counting semaphore: acquire, release",
                            {.operate =
                                 [](Count& state, const Party& me, const auto& arm) {
                                   arm();
                                   need(state.semaphore.acquire(me.context, soon()).has_value(),
                                        10);
                                   need(state.semaphore.release(me.context).has_value(), 11);
                                 },
                             .check =
                                 [](Count& state, const Party& us) {
                                   // Taken and lost, or not.
                                   CHECK(state.semaphore.value(us.context) <= 1);
                                   REQUIRE(state.semaphore.release(us.context));
                                   CHECK(state.semaphore.acquire(us.context, now()));
                                 }});
  kill_at_every_step<Count>(
      "counting semaphore: release while another one sleeps",
      {.prepare = [](Count& state,
                     const Party& us) { need(!!state.semaphore.acquire(us.context, now()), 9); },
       .operate =
           [](Count& state, const Party& me, const auto& arm) {
             wait_until([&] { return state.go == 1; });
             usleep(1000);
             arm();
             need(state.semaphore.release(me.context).has_value(), 10);
           },
       .meanwhile =
           [](Count& state, const Party& other) {
             state.go = 1;
             // Where the releaser died before it released, only the deadline ends the wait.
             const auto got = state.semaphore.acquire(other.context, Deadline::after_ms(50));
             need(got.has_value() || state.semaphore.value(other.context) == 0, 20);
           },
       .check =
           [](Count& state, const Party& us) {
             REQUIRE(state.semaphore.release(us.context));
             CHECK(state.semaphore.acquire(us.context, now()));
           }});
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
