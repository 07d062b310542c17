// CountingSemaphore: a number that anybody may add to.
#include "strata/sync/counting_semaphore.h"

#include <cstring>
#include <thread>
#include <vector>

#include "sync/sync_testing.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;

namespace {

Deadline soon() { return Deadline::after_ms(60'000); }
Deadline now() { return Deadline::after_ms(0); }

}  // namespace

TEST_CASE("a_counting_semaphore_gives_what_it_began_with_and_what_anybody_released") {
  const LockFile file;
  const Party us(file, 1);
  CountingSemaphore semaphore(2);
  CHECK(semaphore.value(us.context) == 2);
  CHECK(semaphore.acquire(us.context, now()));
  CHECK(semaphore.acquire(us.context, soon()));
  CHECK(semaphore.acquire(us.context, now()).error().code() == Code::timed_out);
  CHECK(semaphore.acquire(us.context, Deadline::after_ms(5)).error().code() == Code::timed_out);
  const Party others(file, 2);
  REQUIRE(semaphore.release(others.context, 3));
  CHECK(semaphore.value(us.context) == 3);
  CHECK(semaphore.initial() == 2);
}

TEST_CASE("a_release_that_would_overflow_changes_nothing") {
  const LockFile file;
  const Party us(file, 1);
  CountingSemaphore semaphore(CountingSemaphore::kMaxValue - 1);
  REQUIRE(semaphore.release(us.context));
  CHECK(semaphore.release(us.context).error().code() == Code::invalid_argument);
  CHECK(semaphore.release(us.context, ~0u).error().code() == Code::invalid_argument);
  CHECK(semaphore.value(us.context) == CountingSemaphore::kMaxValue);
}

TEST_CASE("a_counting_semaphore_of_another_generation_has_its_initial_value") {
  const LockFile file;
  const Party before(file, 1, 1);
  const Party after(file, 2, 2);
  CountingSemaphore semaphore(1);
  REQUIRE(semaphore.acquire(before.context, now()));
  CHECK(semaphore.value(after.context) == 1);
  CHECK(semaphore.acquire(after.context, now()));
  CHECK_FALSE(semaphore.acquire(after.context, now()));
}

TEST_CASE("hostile_values_of_a_counting_semaphore_overflow_nothing") {
  const LockFile file;
  const Party us(file, 1);
  CountingSemaphore semaphore(0);
  std::memset(static_cast<void*>(&semaphore), 0xFF, sizeof semaphore);
  CHECK(semaphore.value(us.context) == CountingSemaphore::kMaxValue);
  CHECK(semaphore.release(us.context).error().code() == Code::invalid_argument);
  CHECK(semaphore.acquire(us.context, now()));
}

TEST_CASE("what_processes_release_others_acquire_and_nothing_is_lost") {
  constexpr int kRounds = 2000;
  const LockFile file;
  const Shared<CountingSemaphore> semaphore(0u);
  std::vector<pid_t> children;
  for (std::uint32_t i = 0; i < 4; ++i) {
    children.push_back(start_child([&] {
      const Party me(file, 2 + i);
      for (int round = 0; round < kRounds; ++round) {
        const bool ok = i % 2 == 0 ? semaphore->release(me.context).has_value()
                                   : semaphore->acquire(me.context, soon()).has_value();
        if (!ok) _exit(1);
      }
    }));
  }
  for (const pid_t child : children)
    REQUIRE(wait_for(child) == 0);
  const Party us(file, 1);
  CHECK(semaphore->value(us.context) == 0);
}

TEST_CASE("one_release_of_many_lets_as_many_waiters_go_on") {
  const LockFile file;
  const Party us(file, 1);
  CountingSemaphore semaphore(0);
  std::vector<std::thread> waiters;
  std::atomic<int> through{0};
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back([&] {
      if (semaphore.acquire(us.context, soon())) ++through;
    });
  }
  REQUIRE(semaphore.release(us.context, 3));
  for (std::thread& waiter : waiters)
    waiter.join();
  CHECK(through == 3);
  CHECK(semaphore.value(us.context) == 0);
}
