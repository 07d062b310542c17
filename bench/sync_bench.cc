// Locks, wake-ups and counters beside their peers, turn and turn about.
#include <fmt/format.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>

#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/interprocess_sharable_mutex.hpp>

#include "bench/paired.h"
#include "bench/process_pair.h"
#include "strata/sync/event.h"
#include "strata/sync/robust_mutex.h"
#include "strata/sync/rw_lock.h"
#include "strata/sync/seq_lock.h"
#include "strata/sync/sharded.h"

namespace strata::inline v0_1 {
namespace {

namespace ipc = boost::interprocess;

constexpr std::uint64_t kFreeRounds = 300'000;
constexpr std::uint64_t kContendedRounds = 50'000;
constexpr std::uint64_t kTrips = 5'000;

template <typename Body>
double timed_ns(std::uint64_t rounds, Body body) {
  const std::uint64_t since_ns = monotonic_ns();
  for (std::uint64_t i = 0; i < rounds; ++i)
    body();
  return static_cast<double>(monotonic_ns() - since_ns);
}

// Keeps the CPU busy for about 200 ns, without a look at the clock.
class Work {
 public:
  Work() {
    const std::uint64_t rounds = 10'000'000;
    const double ns = timed_ns(1, [&] { spin(rounds); });
    rounds_ = static_cast<std::uint64_t>(200.0 * static_cast<double>(rounds) / ns);
  }
  void operator()() const { spin(rounds_); }

 private:
  static void spin(std::uint64_t rounds) {
    for (std::uint64_t i = 0; i < rounds; ++i)
      asm volatile("" ::: "memory");
  }
  std::uint64_t rounds_ = 0;
};

pthread_mutex_t pthread_mutex(int robust) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, robust);
  pthread_mutex_t mutex;
  pthread_mutex_init(&mutex, &attributes);
  pthread_mutexattr_destroy(&attributes);
  return mutex;
}

struct alignas(64) Places {
  RobustMutex ours;
  alignas(64) pthread_mutex_t robust = pthread_mutex(PTHREAD_MUTEX_ROBUST);
  alignas(64) pthread_mutex_t plain = pthread_mutex(PTHREAD_MUTEX_STALLED);
  alignas(64) ipc::interprocess_mutex boost;
  alignas(64) ipc::interprocess_sharable_mutex boost_sharable;
  RwLock rw;
  SeqCell<std::array<std::uint64_t, 4>> cell;
  alignas(64) std::atomic<std::int64_t> atomic{0};
  ShardedCounter<16> counter;
  alignas(64) Event ping, pong;
  alignas(64) std::atomic<std::uint32_t> spin_ball{0};
  alignas(64) std::atomic<std::uint32_t> futex_ping{0}, futex_pong{0};
};

void free_locks(PairedBench& bench, Places& at, const SyncContext& us) {
  const Deadline deadline = Deadline::after_ms(3'600'000);
  const auto ours = [&] {
    return timed_ns(kFreeRounds, [&] {
      (void)at.ours.lock(us, deadline);
      (void)at.ours.unlock(us);
    });
  };
  const auto pthread = [](pthread_mutex_t& mutex) {
    return [&mutex] {
      return timed_ns(kFreeRounds, [&] {
        pthread_mutex_lock(&mutex);
        pthread_mutex_unlock(&mutex);
      });
    };
  };
  bench.compare({.name = "mutex free: lock + unlock",
                 .peer = "pthread robust",
                 .goal = at_most(0.6),
                 .operations = kFreeRounds},
                ours, pthread(at.robust));
  bench.compare(
      {.name = "mutex free: lock + unlock", .peer = "pthread shared", .operations = kFreeRounds},
      ours, pthread(at.plain));
  bench.compare({.name = "mutex free: lock + unlock", .peer = "Boost", .operations = kFreeRounds},
                ours, [&] {
                  return timed_ns(kFreeRounds, [&] {
                    at.boost.lock();
                    at.boost.unlock();
                  });
                });
  bench.compare(
      {.name = "rw lock free: read lock + unlock",
       .peer = "Boost sharable",
       .operations = kFreeRounds},
      [&] {
        return timed_ns(kFreeRounds, [&] {
          const auto hold = at.rw.lock_shared(us, deadline);
          (void)at.rw.unlock_shared(us, *hold);
        });
      },
      [&] {
        return timed_ns(kFreeRounds, [&] {
          at.boost_sharable.lock_sharable();
          at.boost_sharable.unlock_sharable();
        });
      });
  bench.compare(
      {.name = "read 32 bytes",
       .ours = "seqlock",
       .peer = "pthread shared",
       .operations = kFreeRounds},
      [&] { return timed_ns(kFreeRounds, [&] { (void)at.cell.read(us, deadline); }); },
      [&] {
        std::array<std::uint64_t, 4> from{}, to{};
        return timed_ns(kFreeRounds, [&] {
          pthread_mutex_lock(&at.plain);
          asm volatile("" : "+m"(from));
          to = from;
          asm volatile("" : "+m"(to));
          pthread_mutex_unlock(&at.plain);
        });
      });
}

// The holder lives: so the kernel is asked about it now and then, which is in the time.
void held_locks(PairedBench& bench, Places& at, const SyncContext& us, const SyncContext& them) {
  (void)at.ours.lock(them, Deadline::now());
  pthread_mutex_lock(&at.robust);
  pthread_mutex_lock(&at.plain);
  const auto ours = [&] { return timed_ns(kFreeRounds, [&] { (void)at.ours.try_lock(us); }); };
  const auto pthread = [](pthread_mutex_t& mutex) {
    return [&mutex] { return timed_ns(kFreeRounds, [&] { (void)pthread_mutex_trylock(&mutex); }); };
  };
  bench.compare({.name = "mutex held: a try_lock that fails",
                 .peer = "pthread robust",
                 .operations = kFreeRounds},
                ours, pthread(at.robust));
  bench.compare({.name = "mutex held: a try_lock that fails",
                 .peer = "pthread shared",
                 .goal = at_most(10.0),
                 .operations = kFreeRounds},
                ours, pthread(at.plain));
  pthread_mutex_unlock(&at.plain);
  pthread_mutex_unlock(&at.robust);
  (void)at.ours.unlock(them);
}

void counters(PairedBench& bench, Places& at) {
  bench.compare(
      {.name = "add",
       .ours = "sharded counter",
       .peer = "free atomic",
       .goal = at_most(1.5),
       .operations = kFreeRounds},
      [&] { return timed_ns(kFreeRounds, [&] { at.counter.add(1); }); },
      [&] {
        return timed_ns(kFreeRounds, [&] { at.atomic.fetch_add(1, std::memory_order_relaxed); });
      });
}

// Each side has a context of its own; the child's token is another one.
struct Sides {
  test::LockFile file;
  std::array<std::unique_ptr<test::Party>, 2> parties;
  // In the process that uses it, as the lock belongs to the process.
  const SyncContext& of(ProcessPair::Side side) {
    auto& party = parties[static_cast<int>(side)];
    if (!party) {
      const std::uint32_t spins = allow_spins ? spins_on_two : 0;
      party = std::make_unique<test::Party>(file, 10 + static_cast<int>(side), 1, spins);
    }
    return party->context;
  }
  std::uint32_t spins_on_two = 0;
  bool allow_spins = true;
};

void contended_locks(PairedBench& bench, Places& at, const std::vector<int>& cpus,
                     std::uint32_t spins) {
  if (cpus.size() < 2) return bench.note("contended locks: left out, one CPU only");
  const Work work;
  const Deadline deadline = Deadline::after_ms(3'600'000);
  Sides sides;
  sides.spins_on_two = spins;
  // The child releases no lock of the parent's: each makes its party when it first needs one.
  const auto ours = [&](bool with_work) {
    return [&, with_work](ProcessPair::Side side) {
      const SyncContext& us = sides.of(side);
      for (std::uint64_t i = 0; i < kContendedRounds; ++i) {
        (void)at.ours.lock(us, deadline);
        if (with_work) work();
        (void)at.ours.unlock(us);
      }
    };
  };
  const auto peer = [&](pthread_mutex_t& mutex, bool with_work) {
    return [&, with_work](ProcessPair::Side) {
      for (std::uint64_t i = 0; i < kContendedRounds; ++i) {
        pthread_mutex_lock(&mutex);
        if (with_work) work();
        pthread_mutex_unlock(&mutex);
      }
    };
  };
  ProcessPair pair({ours(true), peer(at.robust, true), ours(false), peer(at.robust, false),
                    peer(at.plain, true), peer(at.plain, false)},
                   cpus[0], cpus[1]);
  const auto task = [&](std::size_t index) { return [&, index] { return pair.run(index); }; };
  constexpr std::uint64_t kBoth = 2 * kContendedRounds;
  bench.compare({.name = "mutex, 2 processes, 200 ns of work",
                 .peer = "pthread robust",
                 .goal = at_most(0.75),
                 .operations = kBoth},
                task(0), task(1));
  bench.compare({.name = "mutex, 2 processes, no work",
                 .peer = "pthread robust",
                 .goal = at_most(1.0),
                 .operations = kBoth},
                task(2), task(3));
  bench.compare(
      {.name = "mutex, 2 processes, 200 ns of work", .peer = "pthread shared", .operations = kBoth},
      task(0), task(4));
  bench.compare(
      {.name = "mutex, 2 processes, no work", .peer = "pthread shared", .operations = kBoth},
      task(2), task(5));
}

// One ball between two processes: the parent hits odd numbers, the child even ones.
void spin_trips(std::atomic<std::uint32_t>& ball, ProcessPair::Side side) {
  const bool is_parent = side == ProcessPair::Side::parent;
  if (is_parent) ball = 1;
  for (std::uint64_t i = 0; i < kTrips; ++i) {
    while (ball.load(std::memory_order_acquire) != (is_parent ? 2 : 1))
      relax_cpu();
    if (i + 1 < kTrips || !is_parent) ball.store(is_parent ? 1 : 2, std::memory_order_release);
  }
}

void raw_wait(std::atomic<std::uint32_t>& word) {
  while (word.exchange(0) == 0)
    syscall(SYS_futex, &word, FUTEX_WAIT, 0, nullptr, nullptr, 0);
}

void raw_wake(std::atomic<std::uint32_t>& word) {
  word.store(1);
  syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

void futex_trips(Places& at, ProcessPair::Side side) {
  for (std::uint64_t i = 0; i < kTrips; ++i) {
    if (side == ProcessPair::Side::parent) {
      raw_wake(at.futex_ping);
      raw_wait(at.futex_pong);
    } else {
      raw_wait(at.futex_ping);
      raw_wake(at.futex_pong);
    }
  }
}

void event_trips(Places& at, const SyncContext& us, ProcessPair::Side side) {
  const Deadline deadline = Deadline::after_ms(3'600'000);
  Event& mine = side == ProcessPair::Side::parent ? at.pong : at.ping;
  Event& theirs = side == ProcessPair::Side::parent ? at.ping : at.pong;
  for (std::uint64_t i = 0; i < kTrips; ++i) {
    if (side == ProcessPair::Side::parent) theirs.set(us);
    (void)mine.wait(us, deadline);
    mine.reset(us);
    if (side == ProcessPair::Side::child) theirs.set(us);
  }
}

void wake_ups(PairedBench& bench, Places& at, const std::vector<int>& cpus, std::uint32_t spins) {
  for (const bool on_two : {true, false}) {
    if (on_two && cpus.size() < 2) {
      bench.note("wake-ups on two CPUs: left out, one CPU only");
      continue;
    }
    Sides sides;
    sides.spins_on_two = spins;
    sides.allow_spins = on_two;
    ProcessPair pair({[&](ProcessPair::Side side) { event_trips(at, sides.of(side), side); },
                      [&](ProcessPair::Side side) {
                        if (on_two) {
                          spin_trips(at.spin_ball, side);
                        } else {
                          futex_trips(at, side);
                        }
                      }},
                     cpus[0], on_two ? cpus[1] : cpus[0]);
    bench.compare(
        {.name = on_two ? "round trip, two CPUs" : "round trip, one CPU",
         .ours = "event",
         .peer = on_two ? "spinning" : "raw futex",
         .goal = at_most(on_two ? 2.0 : 1.2),
         .operations = kTrips},
        [&] { return pair.run(0); }, [&] { return pair.run(1); });
  }
}

int run(int argc, char** argv) {
  PairedBench bench(argc, argv);
  const std::vector<int> cpus = allowed_cpus();
  // Before anything is pinned: a process on one CPU does not spin.
  RealOs os;
  const std::uint32_t spins = SyncContext::spins_for(os);
  const test::Shared<Places> at;
  const test::LockFile file;
  const test::Party us(file, 1), them(file, 2);
  free_locks(bench, *at, us.context);
  held_locks(bench, *at, us.context, them.context);
  counters(bench, *at);
  contended_locks(bench, *at, cpus, spins);
  wake_ups(bench, *at, cpus, spins);
  return bench.finish();
}

}  // namespace
}  // namespace strata::inline v0_1

int main(int argc, char** argv) { return strata::run(argc, argv); }
