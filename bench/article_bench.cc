// Three experiments on shared data, of the kind that articles like to show, with the wrong answers
// printed as they come out.
//   1. A counter that several threads add to: without a lock, with one, with 16, one per thread.
//   2. Processes that report results: over a segment, over a pipe, over Redis where it is
//   installed.
//   3. A stack whose head goes from A to B and back to A: without versions, and with them.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <latch>
#include <mutex>
#include <thread>
#include <vector>

#include "bench/paired.h"
#include "bench/process_pair.h"
#include "strata/sync/mpmc_ring.h"
#include "strata/sync/robust_mutex.h"
#include "strata/sync/sharded.h"
#include "strata/sync/versioned_cell.h"

namespace strata::inline v0_1 {
namespace {

constexpr int kWorkers = 4;
constexpr std::int64_t kAdds = 250'000;
constexpr int kReports = 25'000;
constexpr int kRounds = 50;

void need(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "article_bench: %s failed\n", what);
  std::_Exit(1);
}

template <typename Body>
double timed_ns(Body body) {
  const std::uint64_t since_ns = monotonic_ns();
  body();
  return static_cast<double>(monotonic_ns() - since_ns);
}

template <typename Body>
void in_threads(Body body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kWorkers; ++i)
    threads.emplace_back([=] { body(i); });
  for (std::thread& thread : threads)
    thread.join();
}

template <typename Body>
void in_processes(Body body) {
  std::vector<pid_t> children;
  for (int i = 0; i < kWorkers; ++i)
    children.push_back(test::start_child([=] { body(i); }));
  for (const pid_t child : children)
    need(test::wait_for(child) == 0, "a worker");
}

// 1. ---------------------------------------------------------------------------------------

struct Counters {
  volatile std::int64_t unsynchronised = 0;
  std::mutex std_mutex;
  std::int64_t locked = 0;
  RobustMutex mutex;
  ShardedMutex<16> mutexes;
  struct alignas(64) Padded {
    std::int64_t value = 0;
  };
  std::array<Padded, 16> shards;
  std::array<Padded, kWorkers> own;
  alignas(64) std::atomic<std::int64_t> atomic{0};
  ShardedCounter<16> sharded;
};

void count(PairedBench& bench) {
  const test::LockFile file;
  const test::Party us(file, 1);
  const Deadline deadline = Deadline::after_ms(3'600'000);
  const auto counters = std::make_unique<Counters>();
  Counters& at = *counters;
  constexpr std::int64_t kAll = kWorkers * kAdds;

  // All begin together: one that is through before the next begins disturbs nobody.
  std::int64_t least = kAll;
  for (int round = 0; round < kRounds; ++round) {
    at.unsynchronised = 0;
    std::latch all_there(kWorkers);
    in_threads([&](int) {
      all_there.arrive_and_wait();
      for (std::int64_t i = 0; i < kAdds; ++i)
        at.unsynchronised = at.unsynchronised + 1;
    });
    const std::int64_t left = at.unsynchronised;
    least = std::min(least, left);
  }
  bench.note(
      fmt::format("counter without a lock: {} of {} additions left, at worst of {} rounds: {}",
                  least, kAll, kRounds, least == kAll ? "right by luck" : "WRONG"));

  const auto locked = [&] {
    at.locked = 0;
    const double ns = timed_ns([&] {
      in_threads([&](int) {
        for (std::int64_t i = 0; i < kAdds; ++i) {
          (void)at.mutex.lock(us.context, deadline);
          ++at.locked;
          (void)at.mutex.unlock(us.context);
        }
      });
    });
    need(at.locked == kAll, "one lock");
    return ns;
  };
  const auto std_locked = [&] {
    at.locked = 0;
    const double ns = timed_ns([&] {
      in_threads([&](int) {
        for (std::int64_t i = 0; i < kAdds; ++i) {
          const std::lock_guard guard(at.std_mutex);
          ++at.locked;
        }
      });
    });
    need(at.locked == kAll, "std::mutex");
    return ns;
  };
  const auto sharded_locks = [&] {
    at.shards = {};
    const double ns = timed_ns([&] {
      in_threads([&](int worker) {
        for (std::int64_t i = 0; i < kAdds; ++i) {
          const std::size_t shard = static_cast<std::size_t>(worker + i) % 16;
          (void)at.mutexes[shard].lock(us.context, deadline);
          ++at.shards[shard].value;
          (void)at.mutexes[shard].unlock(us.context);
        }
      });
    });
    std::int64_t sum = 0;
    for (const auto& shard : at.shards)
      sum += shard.value;
    need(sum == kAll, "16 shards");
    return ns;
  };
  const auto one_atomic = [&] {
    at.atomic = 0;
    const double ns = timed_ns([&] {
      in_threads([&](int) {
        for (std::int64_t i = 0; i < kAdds; ++i)
          at.atomic.fetch_add(1, std::memory_order_relaxed);
      });
    });
    need(at.atomic == kAll, "one atomic");
    return ns;
  };
  const auto sharded_counter = [&] {
    const std::int64_t before = at.sharded.total();
    const double ns = timed_ns([&] {
      in_threads([&](int) {
        for (std::int64_t i = 0; i < kAdds; ++i)
          at.sharded.add(1);
      });
    });
    need(at.sharded.total() - before == kAll, "sharded counter");
    return ns;
  };
  const auto own = [&] {
    at.own = {};
    const double ns = timed_ns([&] {
      in_threads([&](int worker) {
        volatile std::int64_t& mine = at.own[worker].value;
        for (std::int64_t i = 0; i < kAdds; ++i)
          mine = mine + 1;
      });
    });
    std::int64_t sum = 0;
    for (const auto& worker : at.own)
      sum += worker.value;
    need(sum == kAll, "one each");
    return ns;
  };
  const auto compare = [&](const char* ours, const char* peer, const PairedBench::Side& a,
                           const PairedBench::Side& b) {
    bench.compare({.name = "counter, 4 threads", .ours = ours, .peer = peer, .operations = kAll}, a,
                  b);
  };
  compare("one robust lock", "one std::mutex", locked, std_locked);
  compare("16 robust locks", "one robust lock", sharded_locks, locked);
  compare("sharded counter", "one atomic", sharded_counter, one_atomic);
  compare("one number each", "one atomic", own, one_atomic);
}

// 2. ---------------------------------------------------------------------------------------

class Redis {
 public:
  // Nothing where there is no redis-server. It keeps no files and ends with us.
  static std::unique_ptr<Redis> start() {
    if (std::system("command -v redis-server > /dev/null 2>&1") != 0) return nullptr;
    auto redis = std::unique_ptr<Redis>(new Redis);
    redis->port_ = 20'000 + getpid() % 20'000;
    redis->server_ = fork();
    if (redis->server_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const std::string port = std::to_string(redis->port_);
      execlp("redis-server", "redis-server", "--port", port.c_str(), "--save", "", "--appendonly",
             "no", "--bind", "127.0.0.1", "--logfile", "/dev/null", nullptr);
      _exit(1);
    }
    for (int i = 0; i < 500; ++i) {
      const int fd = redis->connect();
      if (fd >= 0) {
        close(fd);
        return redis;
      }
      usleep(10'000);
    }
    return nullptr;
  }
  ~Redis() { test::kill_child(server_); }

  int connect() const {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return fd;
    close(fd);
    return -1;
  }

 private:
  Redis() = default;
  pid_t server_ = 0;
  int port_ = 0;
};

struct alignas(64) RingBytes {
  std::byte data[1 << 18];
};

void report_over_ring(const test::LockFile& file, RingBytes& bytes) {
  need(format_mpmc_ring(bytes.data, {1024, 8}).has_value(), "format");
  const Deadline deadline = Deadline::after_ms(600'000);
  std::vector<pid_t> children;
  for (int worker = 0; worker < kWorkers; ++worker) {
    children.push_back(test::start_child([&] {
      const test::Party me(file, static_cast<std::uint32_t>(2 + worker));
      auto ring = MpmcRing::open(bytes.data, me.context);
      for (std::uint64_t i = 0; i < kReports; ++i)
        need(ring->send(std::as_bytes(std::span(&i, 1)), deadline).has_value(), "send");
    }));
  }
  const test::Party us(file, 1);
  auto ring = MpmcRing::open(bytes.data, us.context);
  for (int i = 0; i < kWorkers * kReports; ++i) {
    auto message = ring->receive(deadline);
    need(message.has_value() && ring->release(*message).has_value(), "receive");
  }
  for (const pid_t child : children)
    need(test::wait_for(child) == 0, "a worker");
}

void report_over_pipe() {
  int ends[2];
  need(pipe(ends) == 0, "pipe");
  std::vector<pid_t> children;
  for (int worker = 0; worker < kWorkers; ++worker) {
    children.push_back(test::start_child([&] {
      for (std::uint64_t i = 0; i < kReports; ++i)
        need(write(ends[1], &i, sizeof(i)) == sizeof(i), "write");
    }));
  }
  for (int i = 0; i < kWorkers * kReports; ++i) {
    std::uint64_t value = 0;
    need(read(ends[0], &value, sizeof(value)) == sizeof(value), "read");
  }
  for (const pid_t child : children)
    need(test::wait_for(child) == 0, "a worker");
  close(ends[0]);
  close(ends[1]);
}

void count_in_redis(const Redis& redis) {
  in_processes([&](int) {
    const int fd = redis.connect();
    need(fd >= 0, "connect");
    char answer[64];
    for (int i = 0; i < kReports; ++i) {
      need(write(fd, "INCR n\r\n", 8) == 8 && read(fd, answer, sizeof(answer)) > 0, "INCR");
    }
  });
}

void pass_results(PairedBench& bench) {
  const test::LockFile file;
  const test::Shared<RingBytes> ring;
  const test::Shared<ShardedCounter<16>> counter;
  constexpr std::uint64_t kAll = std::uint64_t{kWorkers} * kReports;
  const auto over_ring = [&] { return timed_ns([&] { report_over_ring(file, *ring); }); };
  bench.compare({.name = "4 processes report 100,000 results",
                 .ours = "ring in a segment",
                 .peer = "pipe",
                 .operations = kAll},
                over_ring, [&] { return timed_ns([] { report_over_pipe(); }); });
  const auto redis = Redis::start();
  if (!redis) return bench.note("against Redis: left out, redis-server is not installed");
  bench.compare(
      {.name = "4 processes count 100,000 things",
       .ours = "sharded counter",
       .peer = "Redis INCR",
       .operations = kAll},
      [&] {
        return timed_ns([&] {
          in_processes([&](int) {
            for (int i = 0; i < kReports; ++i)
              counter->add(1);
          });
        });
      },
      [&] { return timed_ns([&] { count_in_redis(*redis); }); });
}

// 3. ---------------------------------------------------------------------------------------

// Nodes 1 to 3 on a stack, head first. One thread reads head 1 and its next, 2, and is delayed;
// meanwhile 1 and 2 are popped and 1 is pushed back. Then it goes on.
void show_aba(PairedBench& bench) {
  const bool plain = [] {
    std::atomic<std::uint64_t> head{1};
    std::uint64_t seen = head.load();  // the late thread: head 1, next 2
    head = 2;                          // another one pops 1,
    head = 3;                          // pops 2 and keeps it,
    head = 1;                          // pushes 1, whose next is 3 now
    return head.compare_exchange_strong(seen, 2);
  }();
  const bool versioned = [] {
    VersionedCell head;
    auto now = head.load();
    head.compare_exchange(now, 1);
    auto seen = head.load();
    for (const std::uint64_t next : {2, 3, 1})
      head.compare_exchange(now, next);
    return head.compare_exchange(seen, 2);
  }();
  need(plain && !versioned, "the A-B-A case");
  bench.note(
      "A-B-A without versions: the late swap succeeds, and a node that somebody keeps is the head: "
      "WRONG");
  bench.note("A-B-A with versions: the late swap fails and is tried again: right");
}

int run(int argc, char** argv) {
  PairedBench bench(argc, argv);
  count(bench);
  pass_results(bench);
  show_aba(bench);
  return bench.finish();
}

}  // namespace
}  // namespace strata::inline v0_1

int main(int argc, char** argv) { return strata::run(argc, argv); }
