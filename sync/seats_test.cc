// Semaphore, Barrier and RwLock: the primitives that hand out seats.
#include <cstring>
#include <vector>

#include "strata/sync/barrier.h"
#include "strata/sync/rw_lock.h"
#include "strata/sync/semaphore.h"
#include "sync/sync_testing.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;

namespace {

Deadline soon() { return Deadline::after_ms(60'000); }
Deadline now() { return Deadline::after_ms(0); }

[[noreturn]] void sleep_for_ever() {
  for (;;)
    pause();
}

}  // namespace

TEST_CASE("a_semaphore_hands_out_as_many_permits_as_it_has") {
  const LockFile file;
  const Party us(file, 1);
  Semaphore semaphore(2);
  const auto a = semaphore.acquire(us.context, soon());
  const auto b = semaphore.acquire(us.context, soon());
  REQUIRE(a);
  REQUIRE(b);
  CHECK(semaphore.free_permits(us.context) == 0);
  CHECK(semaphore.acquire(us.context, now()).error().code() == Code::timed_out);
  REQUIRE(semaphore.release(us.context, *a));
  CHECK(semaphore.release(us.context, *a).error().code() == Code::failed_precondition);
  CHECK(semaphore.acquire(us.context, now()));
}

TEST_CASE("a_permit_comes_back_from_a_process_that_was_killed") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<Semaphore> semaphore(1u);
  const int status = in_child([&] {
    const Party me(file, 2);
    if (!semaphore->acquire(me.context, soon())) _exit(1);
    die();
  });
  REQUIRE(was_killed(status));
  const auto permit = semaphore->acquire(us.context, soon());
  REQUIRE(permit);
  CHECK(permit->how == Acquired::owner_died);
}

TEST_CASE("processes_wait_for_permits_and_never_have_more_than_there_are") {
  struct State {
    Semaphore semaphore{2};
    std::atomic<int> inside{0}, most{0};
  };
  const LockFile file;
  const Shared<State> state;
  std::vector<pid_t> children;
  for (std::uint32_t i = 0; i < 4; ++i) {
    children.push_back(start_child([&] {
      const Party me(file, 2 + i);
      for (int round = 0; round < 300; ++round) {
        const auto permit = state->semaphore.acquire(me.context, soon());
        if (!permit) _exit(1);
        const int inside = ++state->inside;
        if (inside > state->most) state->most = inside;
        if (round % 50 == 0) usleep(100);
        --state->inside;
        if (!state->semaphore.release(me.context, *permit)) _exit(2);
      }
    }));
  }
  for (const pid_t child : children)
    REQUIRE(wait_for(child) == 0);
  CHECK(state->most <= 2);
}

TEST_CASE("a_semaphore_of_impossible_size_is_corrupt") {
  const LockFile file;
  const Party us(file, 1);
  for (const std::uint32_t permits : {0u, 63u, ~0u}) {
    Semaphore semaphore(permits);
    CHECK(semaphore.acquire(us.context, soon()).error().code() == Code::corrupt);
  }
}

TEST_CASE("a_seat_of_another_generation_is_free") {
  const LockFile file;
  const Party before(file, 1, 1), after(file, 2, 2);
  Semaphore semaphore(1);
  const auto old_permit = semaphore.acquire(before.context, soon());
  REQUIRE(old_permit);
  CHECK(semaphore.acquire(after.context, now()).value().how == Acquired::clean);
  CHECK(!semaphore.release(before.context, *old_permit));
}

TEST_CASE("a_barrier_opens_when_all_have_arrived_phase_after_phase") {
  constexpr int kPhases = 200;
  struct State {
    Barrier barrier{3};
    std::atomic<int> arrived{0};
  };
  const LockFile file;
  const Shared<State> state;
  std::vector<pid_t> children;
  for (std::uint32_t i = 0; i < 3; ++i) {
    children.push_back(start_child([&] {
      const Party me(file, 2 + i);
      const auto seat = state->barrier.join(me.context);
      if (!seat) _exit(1);
      for (int phase = 1; phase <= kPhases; ++phase) {
        ++state->arrived;
        if (!state->barrier.arrive_and_wait(me.context, *seat, soon())) _exit(2);
        if (state->arrived < 3 * phase) _exit(3);
      }
    }));
  }
  for (const pid_t child : children)
    CHECK(wait_for(child) == 0);
  CHECK(state->arrived == 3 * kPhases);
}

TEST_CASE("a_barrier_reports_the_participant_that_died_and_goes_on_with_its_successor") {
  const LockFile file;
  const Party us(file, 1), successor(file, 3);
  const Shared<Barrier> barrier(2u);
  const std::uint32_t seat = barrier->join(us.context).value();
  const int status = in_child([&] {
    const Party me(file, 2);
    if (!barrier->join(me.context)) _exit(1);
    die();
  });
  REQUIRE(was_killed(status));
  const Barrier::Arrival arrival = barrier->arrive(us.context, seat).value();
  const auto told = barrier->wait(us.context, arrival, soon());
  REQUIRE(!told);
  CHECK(told.error().code() == Code::failed_precondition);
  CHECK(told.error().message().find("token 2") != std::string::npos);
  const std::uint32_t theirs = barrier->join(successor.context).value();
  CHECK(theirs != seat);
  REQUIRE(barrier->arrive(successor.context, theirs));
  CHECK(barrier->wait(us.context, arrival, soon()));
}

TEST_CASE("a_participant_that_arrived_and_died_does_not_hold_the_others_up") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<Barrier> barrier(2u);
  const std::uint32_t seat = barrier->join(us.context).value();
  const int status = in_child([&] {
    const Party me(file, 2);
    const auto mine = barrier->join(me.context);
    if (!mine || !barrier->arrive(me.context, *mine)) _exit(1);
    die();
  });
  REQUIRE(was_killed(status));
  CHECK(barrier->arrive_and_wait(us.context, seat, soon()));
}

TEST_CASE("a_barrier_times_out_naming_who_is_late_and_the_arrival_stands") {
  const LockFile file;
  const Party us(file, 1), late(file, 2), third(file, 3);
  Barrier barrier(2);
  const std::uint32_t seat = barrier.join(us.context).value();
  const auto alone = barrier.arrive_and_wait(us.context, seat, Deadline::after_ms(2));
  REQUIRE(!alone);
  CHECK(alone.error().code() == Code::timed_out);
  CHECK(alone.error().message().find("never joined") != std::string::npos);
  const std::uint32_t theirs = barrier.join(late.context).value();
  CHECK(barrier.join(third.context).error().code() == Code::exhausted);
  const Barrier::Arrival arrival = barrier.arrive(us.context, seat).value();
  const auto told = barrier.wait(us.context, arrival, Deadline::after_ms(2));
  REQUIRE(!told);
  CHECK(told.error().message().find("token 2") != std::string::npos);
  REQUIRE(barrier.arrive(late.context, theirs));
  CHECK(barrier.wait(us.context, arrival, now()));
}

TEST_CASE("whoever_joins_in_a_seat_that_was_left_has_not_arrived") {
  const LockFile file;
  const Party us(file, 1), leaves(file, 2), joins(file, 3);
  Barrier barrier(2);
  const std::uint32_t seat = barrier.join(us.context).value();
  const std::uint32_t left = barrier.join(leaves.context).value();
  REQUIRE(barrier.arrive(leaves.context, left));
  REQUIRE(barrier.leave(leaves.context, left));
  REQUIRE(barrier.join(joins.context).value() == left);
  CHECK(barrier.arrive_and_wait(us.context, seat, Deadline::after_ms(2)).error().code() ==
        Code::timed_out);
}

TEST_CASE("many_read_at_once_and_one_writes_alone") {
  const LockFile file;
  const Party us(file, 1), them(file, 2);
  RwLock lock;
  const auto a = lock.lock_shared(us.context, soon()), b = lock.lock_shared(them.context, soon());
  REQUIRE(a);
  REQUIRE(b);
  CHECK(lock.readers(us.context) == 2);
  const auto refused = lock.lock(us.context, Deadline::after_ms(2));
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::timed_out);
  REQUIRE(lock.unlock_shared(us.context, *a));
  CHECK(lock.unlock_shared(us.context, *a).error().code() == Code::failed_precondition);
  CHECK(lock.lock(us.context, now()).error().message().find("token 2") != std::string::npos);
  REQUIRE(lock.unlock_shared(them.context, *b));
  REQUIRE(lock.lock(us.context, soon()).value() == Acquired::clean);
  CHECK(lock.lock_shared(them.context, Deadline::after_ms(2)).error().code() == Code::timed_out);
  REQUIRE(lock.unlock(us.context));
  CHECK(lock.lock_shared(them.context, now()));
}

TEST_CASE("readers_and_writers_of_several_processes_exclude_each_other") {
  struct State {
    RwLock lock;
    std::uint64_t a = 0, b = 0;
  };
  const LockFile file;
  const Shared<State> state;
  std::vector<pid_t> children;
  for (std::uint32_t i = 0; i < 2; ++i) {
    children.push_back(start_child([&] {
      const Party me(file, 2 + i);
      for (int round = 0; round < 2000; ++round) {
        if (!state->lock.lock(me.context, soon())) _exit(1);
        ++state->a;
        ++state->b;
        if (!state->lock.unlock(me.context)) _exit(2);
      }
    }));
    children.push_back(start_child([&] {
      const Party me(file, 10 + i);
      for (int round = 0; round < 2000; ++round) {
        const auto hold = state->lock.lock_shared(me.context, soon());
        if (!hold) _exit(3);
        if (state->a != state->b) _exit(4);
        if (!state->lock.unlock_shared(me.context, *hold)) _exit(5);
      }
    }));
  }
  for (const pid_t child : children)
    CHECK(wait_for(child) == 0);
  CHECK(state->a == 4000);
}

TEST_CASE("a_writer_gets_past_a_reader_that_was_killed") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<RwLock> lock;
  const int status = in_child([&] {
    const Party me(file, 2);
    if (!lock->lock_shared(me.context, soon())) _exit(1);
    die();
  });
  REQUIRE(was_killed(status));
  CHECK(lock->lock(us.context, soon()).value() == Acquired::clean);
}

TEST_CASE("readers_are_refused_after_a_writer_died_until_somebody_repaired") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<RwLock> lock;
  const int status = in_child([&] {
    const Party me(file, 2);
    if (!lock->lock(me.context, soon())) _exit(1);
    die();
  });
  REQUIRE(was_killed(status));
  CHECK(lock->lock_shared(us.context, soon()).error().code() == Code::not_ready);
  REQUIRE(lock->lock(us.context, soon()).value() == Acquired::owner_died);
  REQUIRE(lock->unlock(us.context));
  CHECK(lock->lock_shared(us.context, soon()).error().code() == Code::not_ready);
  REQUIRE(lock->lock(us.context, soon()).value() == Acquired::owner_died);
  REQUIRE(lock->mark_repaired(us.context));
  REQUIRE(lock->unlock(us.context));
  CHECK(lock->lock_shared(us.context, soon()));
}

TEST_CASE("a_writer_is_not_starved_by_readers_that_never_pause") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<RwLock> lock;
  std::vector<pid_t> readers;
  for (std::uint32_t i = 0; i < 3; ++i) {
    readers.push_back(start_child([&] {
      const Party me(file, 2 + i);
      for (;;) {
        const auto hold = lock->lock_shared(me.context, soon());
        if (!hold || !lock->unlock_shared(me.context, *hold)) _exit(1);
      }
    }));
  }
  for (int round = 0; round < 50; ++round) {
    REQUIRE(lock->lock(us.context, soon()));
    REQUIRE(lock->unlock(us.context));
  }
  for (const pid_t reader : readers)
    kill_child(reader);
  CHECK(lock->lock(us.context, soon()).value() == Acquired::clean);
}

TEST_CASE("a_stopped_reader_is_named_when_the_writers_deadline_passes") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<RwLock> lock;
  const pid_t reader = start_child([&] {
    const Party me(file, 2);
    if (!lock->lock_shared(me.context, soon())) _exit(1);
    sleep_for_ever();
  });
  wait_until([&] { return lock->readers(us.context) == 1; });
  stop_child(reader);
  const auto refused = lock->lock(us.context, Deadline::after_ms(20));
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::timed_out);
  CHECK(refused.error().message().find("token 2") != std::string::npos);
  kill_child(reader);
}

TEST_CASE("any_bytes_are_seats_that_answer") {
  const LockFile file;
  const Party us(file, 1);
  std::uint64_t seed = 88172645463325252;
  const auto fill = [&](void* bytes, std::size_t size) {
    for (std::size_t at = 0; at < size; at += 8) {
      seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
      const std::uint64_t word =
          seed % 2 == 0 ? seed : (seed & 0xFFFFFFFF) | us.context.generation_bits();
      std::memcpy(static_cast<char*>(bytes) + at, &word, 8);
    }
  };
  for (int i = 0; i < 200; ++i) {
    RwLock lock;
    fill(&lock, sizeof(lock));
    (void)lock.lock_shared(us.context, now());
    (void)lock.lock(us.context, now());
    Semaphore semaphore(1);
    fill(&semaphore, sizeof(semaphore));
    (void)semaphore.acquire(us.context, now());
    Barrier barrier(1);
    fill(&barrier, sizeof(barrier));
    if (const auto seat = barrier.join(us.context)) {
      (void)barrier.arrive_and_wait(us.context, *seat, now());
    }
  }
  SUCCEED("none crashed or hung");
}
