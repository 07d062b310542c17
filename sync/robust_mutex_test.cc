#include "strata/sync/robust_mutex.h"

#include <cstring>
#include <thread>
#include <vector>

#include "sync/sync_testing.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;

namespace {

Deadline soon() { return Deadline::after_ms(60'000); }

std::uint64_t& word_of(RobustMutex& mutex) { return *reinterpret_cast<std::uint64_t*>(&mutex); }

}  // namespace

TEST_CASE("a_free_mutex_is_locked_and_unlocked") {
  const LockFile file;
  const Party us(file, 1);
  RobustMutex mutex;
  REQUIRE(mutex.lock(us.context, soon()).value() == Acquired::clean);
  CHECK(mutex.is_held_by(us.context));
  CHECK(mutex.report().token == 1);
  CHECK(mutex.report().holder_pid == static_cast<std::uint32_t>(getpid()));
  REQUIRE(mutex.unlock(us.context));
  CHECK(mutex.report().token == 0);
  CHECK(mutex.check());
}

TEST_CASE("a_mutex_that_others_hold_is_not_unlocked") {
  const LockFile file;
  const Party us(file, 1), them(file, 2);
  RobustMutex mutex;
  CHECK(mutex.unlock(us.context).error().code() == Code::failed_precondition);
  REQUIRE(mutex.lock(us.context, soon()));
  const auto refused = mutex.unlock(them.context);
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::failed_precondition);
  CHECK(mutex.is_held_by(us.context));
}

TEST_CASE("a_deadline_that_passes_names_the_holder") {
  const LockFile file;
  const Party us(file, 1), them(file, 2);
  RobustMutex mutex;
  REQUIRE(mutex.lock(them.context, soon()));
  for (const std::uint64_t timeout_ms : {0, 5}) {
    const auto late = mutex.lock(us.context, Deadline::after_ms(timeout_ms));
    REQUIRE(!late);
    CHECK(late.error().code() == Code::timed_out);
    CHECK(late.error().message().find("token 2") != std::string::npos);
    CHECK(late.error().message().find("pid " + std::to_string(getpid())) != std::string::npos);
  }
  CHECK(mutex.is_held_by(them.context));
}

TEST_CASE("a_stopped_holder_is_waited_for_until_the_deadline_and_then_named") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<RobustMutex> mutex;
  const pid_t child = start_child([&] {
    const Party me(file, 2);
    if (!mutex->lock(me.context, soon())) _exit(1);
    for (;;)
      pause();
  });
  wait_until([&] { return mutex->report().token == 2; });
  stop_child(child);
  const auto late = mutex->lock(us.context, Deadline::after_ms(30));
  REQUIRE(!late);
  CHECK(late.error().code() == Code::timed_out);
  CHECK(late.error().message().find("pid " + std::to_string(child)) != std::string::npos);
  kill_child(child);
  CHECK(mutex->lock(us.context, soon()).value() == Acquired::owner_died);
}

TEST_CASE("a_killed_holder_leaves_owner_died_until_somebody_repairs") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<RobustMutex> mutex;
  const int status = in_child([&] {
    const Party me(file, 2);
    if (!mutex->lock(me.context, soon())) _exit(1);
    die();
  });
  REQUIRE(was_killed(status));
  for (int i = 0; i < 3; ++i) {
    REQUIRE(mutex->lock(us.context, soon()).value() == Acquired::owner_died);
    REQUIRE(mutex->unlock(us.context));
    CHECK(mutex->report().is_unrepaired);
  }
  REQUIRE(mutex->try_lock(us.context).value() == Acquired::owner_died);
  REQUIRE(mutex->mark_repaired(us.context));
  REQUIRE(mutex->unlock(us.context));
  CHECK(mutex->lock(us.context, soon()).value() == Acquired::clean);
  CHECK(mutex->report().owner_deaths == 1);
}

TEST_CASE("one_of_many_sleepers_gets_a_dead_holders_mutex") {
  const LockFile file;
  const Shared<RobustMutex> mutex;
  const Shared<std::atomic<int>> died(0), clean(0);
  const pid_t holder = start_child([&] {
    const Party me(file, 2);
    if (!mutex->lock(me.context, soon())) _exit(1);
    for (;;)
      pause();
  });
  wait_until([&] { return mutex->report().token == 2; });
  std::vector<pid_t> children;
  for (std::uint32_t i = 0; i < 4; ++i) {
    children.push_back(start_child([&] {
      const Party me(file, 10 + i);
      const auto how = mutex->lock(me.context, soon());
      if (!how) _exit(1);
      ++(*how == Acquired::owner_died ? *died : *clean);
      if (!mutex->mark_repaired(me.context) || !mutex->unlock(me.context)) _exit(2);
    }));
  }
  wait_until([&] { return mutex->report().has_sleepers; });
  kill_child(holder);
  for (const pid_t child : children)
    CHECK(wait_for(child) == 0);
  CHECK(*died == 1);
  CHECK(*clean == 3);
}

TEST_CASE("a_lock_of_another_generation_is_free") {
  const LockFile file;
  const Party before(file, 1, 7), after(file, 2, 8);
  RobustMutex mutex;
  REQUIRE(mutex.lock(before.context, soon()));
  REQUIRE(mutex.lock(after.context, soon()).value() == Acquired::clean);
  CHECK(mutex.unlock(before.context).error().code() == Code::failed_precondition);
  CHECK(mutex.is_held_by(after.context));
  REQUIRE(mutex.unlock(after.context));
}

TEST_CASE("unrepaired_ends_with_its_generation") {
  const LockFile file;
  const Party after(file, 2, 8);
  RobustMutex mutex;
  word_of(mutex) = (std::uint64_t{7} << 32) | lock_word::kUnrepaired;
  CHECK(mutex.lock(after.context, soon()).value() == Acquired::clean);
}

TEST_CASE("an_impossible_word_is_corrupt_and_left_as_it_is") {
  const LockFile file;
  const Party us(file, 1);
  RobustMutex mutex;
  const std::uint64_t impossible = us.context.generation_bits() | lock_word::kSleepers;
  word_of(mutex) = impossible;
  const auto refused = mutex.lock(us.context, soon());
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::corrupt);
  CHECK(mutex.check().error().code() == Code::corrupt);
  CHECK(word_of(mutex) == impossible);
}

TEST_CASE("any_bytes_are_a_mutex_that_answers") {
  const LockFile file;
  const Party us(file, 1);
  std::uint64_t seed = 88172645463325252;
  for (int i = 0; i < 2000; ++i) {
    RobustMutex mutex;
    for (std::size_t at = 0; at < sizeof(mutex); at += 8) {
      seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
      std::memcpy(reinterpret_cast<char*>(&mutex) + at, &seed, 8);
    }
    // Half of them in the right generation, where more can go wrong.
    if (i % 2 == 0) word_of(mutex) = (word_of(mutex) & 0xFFFFFFFF) | us.context.generation_bits();
    const auto how = mutex.try_lock(us.context);
    if (how) {
      CHECK(mutex.unlock(us.context));
    } else {
      const Code code = how.error().code();
      CHECK((code == Code::corrupt || code == Code::timed_out));
    }
  }
}

TEST_CASE("a_forked_child_without_a_token_gets_nothing") {
  class NoToken final : public Owner {
   public:
    NoToken() : Owner(&none_, 1, 1) {}
    Result<bool> is_alive(std::uint32_t) const override { return true; }
    std::string describe(std::uint32_t) const override { return "?"; }

   private:
    std::uint32_t none_ = 0;
  };
  const NoToken owner;
  const SyncContext context(owner, 1, 0);
  RobustMutex mutex;
  CHECK(mutex.lock(context, soon()).error().code() == Code::failed_precondition);
  CHECK(mutex.unlock(context).error().code() == Code::failed_precondition);
  CHECK(mutex.report().token == 0);
}

TEST_CASE("threads_and_processes_exclude_each_other") {
  struct State {
    RobustMutex mutex;
    std::uint64_t counter = 0;
  };
  constexpr int kRounds = 20'000;
  const LockFile file;
  const Shared<State> state;
  const auto count = [&](const Party& me) {
    for (int i = 0; i < kRounds; ++i) {
      if (!state->mutex.lock(me.context, soon())) _exit(1);
      ++state->counter;
      if (!state->mutex.unlock(me.context)) _exit(2);
    }
  };
  std::vector<pid_t> children;
  for (std::uint32_t i = 0; i < 2; ++i) {
    children.push_back(start_child([&] { count(Party(file, 2 + i)); }));
  }
  const Party us(file, 1);
  std::thread other([&] { count(us); });
  count(us);
  other.join();
  for (const pid_t child : children)
    REQUIRE(wait_for(child) == 0);
  CHECK(state->counter == 4 * kRounds);
  CHECK(state->mutex.report().token == 0);
}

TEST_CASE("waits_are_counted_only_while_that_is_switched_on") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<RobustMutex> mutex;
  for (const bool counts : {false, true}) {
    if (counts) mutex->count_contention();
    REQUIRE(mutex->lock(us.context, soon()));
    const pid_t child = start_child([&] {
      const Party me(file, 2);
      if (!mutex->lock(me.context, soon()) || !mutex->unlock(me.context)) _exit(1);
    });
    wait_until([&] { return mutex->report().has_sleepers; });
    REQUIRE(mutex->unlock(us.context));
    REQUIRE(wait_for(child) == 0);
    CHECK(mutex->report().waits == (counts ? 1 : 0));
  }
  CHECK(mutex->report().longest_wait_ns > 0);
  CHECK(mutex->report().longest_wait_pid == static_cast<std::uint32_t>(getpid()));
  mutex->stop_counting();
  CHECK_FALSE(mutex->report().counts_contention);
}

TEST_CASE("a_guard_unlocks_at_the_end_of_its_scope") {
  const LockFile file;
  const Party us(file, 1);
  RobustMutex mutex;
  {
    auto guard = RobustMutex::Guard::lock(mutex, us.context, soon());
    REQUIRE(guard);
    CHECK_FALSE(guard->owner_died());
    CHECK(mutex.is_held_by(us.context));
  }
  CHECK(mutex.report().token == 0);
}
