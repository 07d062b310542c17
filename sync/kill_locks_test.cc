// Kills at every step of locks: RobustMutex and RwLock.
#include <atomic>
#include <cstring>

#include "strata/sync/robust_mutex.h"
#include "strata/sync/rw_lock.h"
#include "sync/kill_testing.h"

using namespace strata;
using namespace strata::test;

namespace {

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
