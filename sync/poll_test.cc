// Polls: calls that look once, since their deadline is now, and fail. They make no system call,
// allocate nothing and leave no mark of a sleeper, in every primitive; and they find the dead.
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <optional>

#include "strata/sync/barrier.h"
#include "strata/sync/condition.h"
#include "strata/sync/counting_semaphore.h"
#include "strata/sync/event.h"
#include "strata/sync/mpmc_ring.h"
#include "strata/sync/rw_lock.h"
#include "strata/sync/semaphore.h"
#include "strata/sync/seq_lock.h"
#include "strata/sync/spsc_ring.h"
#include "sync/sync_testing.h"
#include "tests/catch.h"
#include "tests/skip.h"

namespace {

std::atomic<std::uint64_t> allocations{0};

}  // namespace

// Every way to allocate in C++ ends here.
void* operator new(std::size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* const memory = std::malloc(bytes)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

using namespace strata;
using namespace strata::test;

namespace {

constexpr int kPolls = 1000;

Deadline soon() { return Deadline::after_ms(60'000); }

// An owner whose word is asked for without the kernel: all live.
class CountingOwner final : public Owner {
 public:
  explicit CountingOwner(std::uint32_t token) : Owner(&mine_, getpid(), 4711), mine_(token) {}
  Result<bool> is_alive(std::uint32_t) const override {
    ++questions;
    return true;
  }
  std::string describe(std::uint32_t) const override {
    ++descriptions;
    return "somebody";
  }
  mutable std::atomic<std::uint64_t> questions{0};
  mutable std::atomic<std::uint64_t> descriptions{0};

 private:
  std::uint32_t mine_;
};

struct Side {
  explicit Side(std::uint32_t token) : owner(token), context(owner, 1, 400) {}
  CountingOwner owner;
  SyncContext context;
};

struct Polls {
  Side us{1}, them{2};
};

// 0 where `poll` fails with timed_out each time, and allocates nothing; ends the process at the
// first system call. `then` is done at last under the same rule: what wakes nobody makes no call.
template <typename Poll, typename Then>
int poll_in_jail(Poll poll, Then then) {
  // Strict mode also faults on a look at the fine clock: polls have no need of it.
  int code = poll() == Code::timed_out ? 0 : 3;
  const std::uint64_t before = allocations.load();
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) return 77;
  for (int i = 0; i < kPolls && code == 0; ++i)
    code = poll() == Code::timed_out ? 0 : 3;
  if (allocations.load() != before) code = 4;
  if (!then()) code = 5;
  syscall(SYS_exit, code);  // what strict mode allows
  return 6;
}

template <typename Poll, typename Then>
void costs_nothing(Poll poll, Then then) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  SKIP_TEST("the sanitizers make system calls of their own");
#endif
  const int status = in_child([&] { return poll_in_jail(poll, then); });
  if (status == 77 << 8) SKIP_TEST("this kernel has no seccomp");
  INFO(
      "9: a system call; 3 * 256: no timed_out; 4 * 256: allocated; 5 * 256: the last call failed");
  CHECK(status == 0);
}

template <typename Poll>
void costs_nothing(Poll poll) {
  costs_nothing(poll, [] { return true; });
}

template <typename T>
Code code_of(const Result<T>& result) {
  return result ? Code::internal : result.error().code();
}

constexpr RingOptions kRing = {.slots = 8, .message_bytes = 16};

struct alignas(64) RingBytes {
  std::array<std::byte, 4096> bytes{};
};

}  // namespace

TEST_CASE_METHOD(Polls, "a_failed_poll_of_a_mutex_costs_nothing_and_leaves_no_mark") {
  RobustMutex mutex;
  REQUIRE(mutex.lock(them.context, soon()));
  const auto unlock = [&] { return mutex.unlock(them.context).has_value(); };
  costs_nothing([&] { return code_of(mutex.try_lock(us.context)); }, unlock);
  costs_nothing([&] { return code_of(mutex.lock(us.context, Deadline::after_ms(0))); }, unlock);
  costs_nothing([&] { return code_of(mutex.lock_for_ms(us.context, 0)); }, unlock);
  costs_nothing(
      [&] { return code_of(RobustMutex::Guard::lock(mutex, us.context, Deadline::now())); },
      unlock);
}

TEST_CASE_METHOD(Polls, "a_failed_poll_of_a_reader_costs_nothing_and_leaves_no_mark") {
  const auto lock = std::make_unique<RwLock>();
  REQUIRE(lock->lock(them.context, soon()));
  costs_nothing([&] { return code_of(lock->lock_shared(us.context, Deadline::now())); },
                [&] { return lock->unlock(them.context).has_value(); });
}

TEST_CASE_METHOD(Polls, "a_failed_poll_of_a_writer_costs_nothing_and_leaves_no_mark") {
  const auto lock = std::make_unique<RwLock>();
  REQUIRE(lock->lock(them.context, soon()));
  const auto poll = [&] { return code_of(lock->lock(us.context, Deadline::now())); };
  costs_nothing(poll, [&] { return lock->unlock(them.context).has_value(); });
  REQUIRE(lock->unlock(them.context));
  const auto hold = lock->lock_shared(them.context, soon());
  REQUIRE(hold);
  costs_nothing(poll, [&] { return lock->unlock_shared(them.context, *hold).has_value(); });
}

TEST_CASE_METHOD(Polls, "a_failed_poll_of_a_semaphore_costs_nothing_and_leaves_no_mark") {
  Semaphore semaphore(62);
  std::optional<Semaphore::Permit> last;
  for (int i = 0; i < 62; ++i)
    last = semaphore.acquire(them.context, soon()).value();
  costs_nothing([&] { return code_of(semaphore.acquire(us.context, Deadline::now())); },
                [&] { return semaphore.release(them.context, *last).has_value(); });
}

TEST_CASE_METHOD(Polls, "a_failed_poll_of_a_counting_semaphore_costs_nothing") {
  CountingSemaphore semaphore(0);
  costs_nothing([&] { return code_of(semaphore.acquire(us.context, Deadline::now())); },
                [&] { return semaphore.release(them.context).has_value(); });
}

TEST_CASE_METHOD(Polls, "a_failed_poll_of_a_cell_costs_nothing") {
  SeqCell<std::array<std::uint64_t, 4>> cell;
  REQUIRE(cell.lock().begin_write(them.context, soon()));
  costs_nothing([&] { return code_of(cell.read(us.context, Deadline::now())); });
  costs_nothing([&] { return code_of(cell.write(us.context, {}, Deadline::now())); },
                [&] { return cell.lock().end_write(them.context).has_value(); });
}

TEST_CASE_METHOD(Polls, "a_failed_poll_of_an_event_costs_nothing_and_leaves_no_mark") {
  Event event;
  event.set(us.context);  // of this generation from now on
  event.reset(us.context);
  costs_nothing([&] { return code_of(event.wait(us.context, Deadline::now())); },
                [&] { return event.set(them.context), event.is_set(us.context); });
}

TEST_CASE_METHOD(Polls, "a_poll_of_a_condition_costs_nothing_and_leaves_no_mark") {
  RobustMutex mutex;
  Condition condition;
  REQUIRE(mutex.lock(us.context, soon()));
  const auto poll = [&] {
    const auto outcome = condition.wait(us.context, mutex, Deadline::now());
    return outcome && outcome->wake == Wake::timed_out ? Code::timed_out : Code::internal;
  };
  costs_nothing(poll, [&] { return condition.notify_all(), mutex.is_held_by(us.context); });
}

TEST_CASE_METHOD(Polls, "a_failed_poll_of_a_barrier_costs_nothing_and_leaves_no_mark") {
  Barrier barrier(3);
  const std::uint32_t mine = barrier.join(us.context).value();
  const std::uint32_t theirs = barrier.join(them.context).value();
  const auto arrival = barrier.arrive(us.context, mine).value();
  const auto poll = [&] { return code_of(barrier.wait(us.context, arrival, Deadline::now())); };
  costs_nothing(poll);
  REQUIRE(barrier.arrive(them.context, theirs));
  costs_nothing(poll, [&] {
    const auto last = barrier.join(them.context);  // completes the phase, and wakes nobody
    return last && barrier.arrive(them.context, *last).has_value() &&
           barrier.wait(us.context, arrival, Deadline::now()).has_value();
  });
}

TEST_CASE_METHOD(Polls, "a_failed_poll_of_a_ring_of_two_costs_nothing_and_leaves_no_mark") {
  RingBytes ring;
  REQUIRE(format_spsc_ring(ring.bytes, kRing));
  auto producer = SpscProducer::open(ring.bytes, us.context).value();
  auto consumer = SpscConsumer::open(ring.bytes, them.context).value();
  costs_nothing([&] { return code_of(consumer.receive(Deadline::now())); },
                [&] { return producer.send({}, Deadline::now()).has_value(); });
  for (std::uint32_t i = 0; i < kRing.slots; ++i)
    REQUIRE(producer.send({}, soon()));
  costs_nothing(
      [&] { return code_of(producer.loan(Deadline::now())); },
      [&] { return consumer.receive(Deadline::now()) && consumer.release().has_value(); });
}

TEST_CASE_METHOD(Polls, "a_failed_poll_of_a_ring_of_many_costs_nothing_and_leaves_no_mark") {
  RingBytes bytes;
  REQUIRE(format_mpmc_ring(bytes.bytes, kRing));
  auto ring = MpmcRing::open(bytes.bytes, us.context).value();
  auto other = MpmcRing::open(bytes.bytes, them.context).value();
  costs_nothing([&] { return code_of(ring.receive(Deadline::now())); },
                [&] { return other.send({}, Deadline::now()).has_value(); });
  for (std::uint32_t i = 0; i < kRing.slots; ++i)
    REQUIRE(other.send({}, soon()));
  const auto poll = [&] { return code_of(ring.loan(Deadline::now())); };
  const auto receive = [&] {
    auto message = other.receive(Deadline::now());
    return message && other.release(*message).has_value();
  };
  costs_nothing(poll, receive);
  // Full of messages that somebody has received and not released.
  for (std::uint32_t i = 0; i < kRing.slots; ++i)
    REQUIRE(other.receive(soon()));
  costs_nothing(poll);
}

TEST_CASE_METHOD(Polls, "polls_ask_whether_a_holder_lives_once_in_a_tick_and_never_who_it_is") {
  RobustMutex mutex;
  Semaphore semaphore(2);
  const auto lock = std::make_unique<RwLock>();
  REQUIRE(mutex.lock(them.context, soon()));
  REQUIRE(semaphore.acquire(them.context, soon()));
  REQUIRE(semaphore.acquire(them.context, soon()));
  REQUIRE(lock->lock(them.context, soon()));
  std::uint64_t ticks = 0, last = 0;
  const Deadline end = Deadline::after_ms(50);
  while (!end.expired()) {
    const std::uint64_t before = coarse_monotonic_ns();
    CHECK(code_of(mutex.try_lock(us.context)) == Code::timed_out);
    CHECK(code_of(semaphore.acquire(us.context, Deadline::now())) == Code::timed_out);
    CHECK(code_of(lock->lock_shared(us.context, Deadline::now())) == Code::timed_out);
    const std::uint64_t after = coarse_monotonic_ns();
    // Each of the three looks at the clock for itself, so that it may tick in between.
    ticks += (before != last ? 1 : 0) + (after != before ? 4 : 0);
    last = after;
  }
  CHECK(us.owner.questions <= ticks);
  CHECK(us.owner.questions >= 1);
  CHECK(us.owner.descriptions == 0);
}

TEST_CASE_METHOD(Polls, "what_a_failed_poll_says_is_put_together_when_it_is_read") {
  RobustMutex mutex;
  REQUIRE(mutex.lock(them.context, soon()));
  const auto failed = mutex.try_lock(us.context);
  REQUIRE(!failed);
  CHECK(failed.error().message() == "lock: held by token 2 (noted in the lock: pid " +
                                        std::to_string(getpid()) + ", start time 4711 ticks)");
  CHECK(us.owner.descriptions == 0);
}

TEST_CASE_METHOD(Polls, "a_lock_tells_its_holder_to_who_asks") {
  RobustMutex mutex;
  CHECK(!mutex.holder(us.context));
  CHECK(mutex.describe_holder(us.context) == "nobody");
  REQUIRE(mutex.lock(them.context, soon()));
  const auto holder = mutex.holder(us.context);
  REQUIRE(holder);
  CHECK(holder->token == 2);
  CHECK(holder->pid == static_cast<std::uint32_t>(getpid()));
  CHECK(holder->start_time_ticks == 4711);
  CHECK(mutex.describe_holder(us.context) == "token 2: somebody (noted in the lock: pid " +
                                                 std::to_string(getpid()) +
                                                 ", start time 4711 ticks)");
  // Nobody holds it in another generation.
  const SyncContext next(us.owner, 2, 0);
  CHECK(!mutex.holder(next));
  CHECK(mutex.describe_holder(next) == "nobody");
}

TEST_CASE_METHOD(Polls, "a_long_wait_that_was_in_vain_describes_the_holder") {
  RobustMutex mutex;
  REQUIRE(mutex.lock(them.context, soon()));
  std::string said;
  // The wait counts from when it falls asleep, which may be late on a machine that is busy.
  for (std::uint64_t ms = 1100; said.find("somebody") == std::string::npos; ms *= 2) {
    REQUIRE(ms < 100'000);
    said = mutex.lock(us.context, Deadline::after_ms(ms)).error().message();
  }
  CHECK(said.starts_with("lock: held by token 2: somebody (noted in the lock: pid "));
}

namespace {

// A child that does `hold` and then waits to be killed.
template <typename Hold>
pid_t start_holder(Hold hold) {
  const Shared<std::atomic<int>> holds(0);
  const pid_t child = start_child([&] {
    hold();
    holds->store(1);
    for (;;)
      pause();
  });
  wait_until([&] { return holds->load() == 1; });
  return child;
}

// `poll` fails with timed_out while the child lives, and comes to another end once it is dead.
template <typename Poll>
void finds_the_dead(pid_t child, Poll poll) {
  for (int i = 0; i < kPolls; ++i)
    CHECK(poll() == Code::timed_out);
  kill_child(child);
  wait_until([&] { return poll() != Code::timed_out; });
}

}  // namespace

TEST_CASE("polls_find_a_dead_holder_of_a_mutex_that_they_found_alive") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<RobustMutex> mutex;
  std::optional<Acquired> got;
  finds_the_dead(start_holder([&] {
                   static Party me(file, 2);
                   STRATA_CHECK(mutex->lock(me.context, soon()).has_value());
                 }),
                 [&] {
                   const auto how = mutex->try_lock(us.context);
                   if (how) got = *how;
                   return code_of(how);
                 });
  CHECK(got == Acquired::owner_died);
  CHECK(mutex->is_held_by(us.context));
}

TEST_CASE("the_first_poll_after_a_death_finds_it_where_no_poll_came_before") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<RobustMutex> mutex;
  kill_child(start_holder([&] {
    static Party me(file, 2);
    STRATA_CHECK(mutex->lock(me.context, soon()).has_value());
  }));
  CHECK(mutex->try_lock(us.context).value() == Acquired::owner_died);
}

TEST_CASE("polls_find_dead_readers_and_dead_writers") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<RwLock> lock;
  const auto write = [&] { return lock->lock(us.context, Deadline::now()); };
  const auto read = [&] { return code_of(lock->lock_shared(us.context, Deadline::now())); };
  finds_the_dead(start_holder([&] {
                   static Party me(file, 2);
                   STRATA_CHECK(lock->lock_shared(me.context, soon()).has_value());
                 }),
                 [&] { return code_of(write()); });
  CHECK(lock->writer().is_held_by(us.context));
  REQUIRE(lock->unlock(us.context));
  finds_the_dead(start_holder([&] {
                   static Party me(file, 3);
                   STRATA_CHECK(lock->lock(me.context, soon()).has_value());
                 }),
                 read);
  CHECK(read() == Code::not_ready);
  CHECK(write().value() == Acquired::owner_died);
}

TEST_CASE("polls_find_dead_holders_of_permits_cells_seats_and_slots") {
  struct State {
    Semaphore semaphore{1};
    SeqCell<std::uint64_t> cell;
    Barrier barrier{2};
    RingBytes ring;
  };
  const LockFile file;
  const Party us(file, 1);
  const Shared<State> at;
  REQUIRE(format_mpmc_ring(at->ring.bytes, kRing));
  auto ring = MpmcRing::open(at->ring.bytes, us.context).value();
  const auto arrival = at->barrier.arrive(us.context, at->barrier.join(us.context).value()).value();
  const pid_t child = start_holder([&] {
    static Party me(file, 2);
    STRATA_CHECK(at->semaphore.acquire(me.context, soon()).has_value());
    STRATA_CHECK(at->cell.lock().begin_write(me.context, soon()).has_value());
    STRATA_CHECK(at->barrier.join(me.context).has_value());
    auto theirs = MpmcRing::open(at->ring.bytes, me.context).value();
    for (std::uint32_t i = 0; i < kRing.slots; ++i)
      STRATA_CHECK(theirs.loan(soon()).has_value());
  });
  const auto permit = [&] { return at->semaphore.acquire(us.context, Deadline::now()); };
  const auto slot = [&] { return ring.loan(Deadline::now()); };
  const auto cell = [&] { return code_of(at->cell.read(us.context, Deadline::now())); };
  const auto seat = [&] { return code_of(at->barrier.wait(us.context, arrival, Deadline::now())); };
  for (int i = 0; i < kPolls; ++i) {
    CHECK(code_of(permit()) == Code::timed_out);
    CHECK(code_of(slot()) == Code::timed_out);
    CHECK(cell() == Code::timed_out);
    CHECK(seat() == Code::timed_out);
  }
  kill_child(child);
  std::optional<Semaphore::Permit> got;
  wait_until([&] {
    const auto polled = permit();
    if (polled) got = *polled;
    return got.has_value();
  });
  CHECK(got->how == Acquired::owner_died);
  wait_until([&] { return slot().has_value(); });
  wait_until([&] { return cell() == Code::not_ready; });
  wait_until([&] { return seat() == Code::failed_precondition; });
}

TEST_CASE("a_role_in_a_ring_is_free_at_once_when_its_holder_is_dead") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<RingBytes> ring;
  REQUIRE(format_spsc_ring(ring->bytes, kRing));
  const pid_t child = start_holder([&] {
    static Party me(file, 2);
    static SpscProducer producer = SpscProducer::open(ring->bytes, me.context).value();
  });
  // That it was found alive a moment ago must not count.
  CHECK(code_of(SpscProducer::open(ring->bytes, us.context)) == Code::failed_precondition);
  kill_child(child);
  const auto mine = SpscProducer::open(ring->bytes, us.context);
  REQUIRE(mine);
  CHECK(mine->predecessor_died());
}
