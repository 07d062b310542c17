// Rings beside Boost's message_queue and a pipe: one producer process, one consumer process.
// The producer writes each message from a buffer of its own; the consumer looks at every cache
// line of it. "In place" the consumer does that in the ring's slot; the peers copy in and out.
// Last, what one message costs one process that is its own consumer.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <cstring>

#include "bench/paired.h"
#include "bench/process_pair.h"
#include "strata/sync/mpmc_ring.h"
#include "strata/sync/spsc_ring.h"

namespace strata::inline v0_1 {
namespace {

namespace ipc = boost::interprocess;

constexpr std::size_t kMostBytes = 64 * 1024;
constexpr std::size_t kRingBytes = 64 * (kMostBytes + 128) + 4096;  // the largest of kSizes

struct Sizes {
  std::size_t bytes;
  std::uint64_t messages;
  std::uint32_t slots;
  double goal;  // times as fast as Boost
};
constexpr Sizes kSizes[] = {
    {8, 100'000, 1024, 20}, {64, 100'000, 1024, 20}, {1024, 20'000, 256, 7},
    {4096, 10'000, 256, 4}, {65536, 1'000, 64, 2},
};

// What the consumer does with a message.
std::uint64_t look_at(std::span<const std::byte> message) {
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at + 8 <= message.size(); at += 64) {
    std::uint64_t word = 0;
    std::memcpy(&word, message.data() + at, 8);
    sum += word;
  }
  asm volatile("" : : "r"(sum));
  return sum;
}

void need(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "ring_bench: %s failed\n", what);
  std::_Exit(1);
}

struct alignas(64) Buffer {
  std::byte data[kMostBytes] = {};
};

struct Pipe {
  Pipe() { need(pipe(ends) == 0, "pipe"); }
  int ends[2];
};

void write_all(int fd, const std::byte* from, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t wrote = write(fd, from, bytes);
    need(wrote > 0, "write");
    from += wrote;
    bytes -= static_cast<std::size_t>(wrote);
  }
}

void read_all(int fd, std::byte* into, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t got = read(fd, into, bytes);
    need(got > 0, "read");
    into += got;
    bytes -= static_cast<std::size_t>(got);
  }
}

// All ways to pass `size.messages` messages, as tasks of a pair of processes.
class Ways {
 public:
  enum Way : std::size_t { in_place, copied, shared, boost, pipes };

  Ways(const Sizes& size, std::uint32_t spins)
      : size_(size),
        spins_(spins),
        queue_name_("strata_ring_bench_" + std::to_string(getpid())),
        producer_token_(1) {
    const RingOptions options{size.slots, static_cast<std::uint32_t>(size.bytes)};
    need(format_spsc_ring(spsc(), options).has_value(), "format_spsc_ring");
    need(format_mpmc_ring(mpmc(), options).has_value(), "format_mpmc_ring");
    ipc::message_queue::remove(queue_name_.c_str());
    queue_ = std::make_unique<ipc::message_queue>(ipc::create_only, queue_name_.c_str(), size.slots,
                                                  size.bytes);
    // Mapped by both already: the name is not needed any more, whatever becomes of us.
    ipc::message_queue::remove(queue_name_.c_str());
  }

  std::vector<ProcessPair::Task> tasks() {
    const auto task = [this](auto way) {
      return
          [this, way](ProcessPair::Side side) { (this->*way)(side == ProcessPair::Side::child); };
    };
    return {task(&Ways::pass_in_place), task(&Ways::pass_copied), task(&Ways::pass_shared),
            task(&Ways::pass_boost), task(&Ways::pass_pipe)};
  }

  // One process, each message received at once.
  double pass_alone() {
    const Party both(file_);
    auto producer = SpscProducer::open(spsc(), both.one.context);
    auto consumer = SpscConsumer::open(spsc(), both.other.context);
    need(producer.has_value() && consumer.has_value(), "open");
    const Deadline deadline = Deadline::after_ms(600'000);
    return timed_ns([&] {
      for (std::uint64_t i = 0; i < size_.messages; ++i) {
        need(producer->send(message(), deadline).has_value(), "send");
        const auto got = consumer->receive(deadline);
        need(got.has_value(), "receive");
        look_at(*got);
        need(consumer->release().has_value(), "release");
      }
    });
  }
  double pass_boost_alone() {
    return timed_ns([&] {
      for (std::uint64_t i = 0; i < size_.messages; ++i) {
        queue_->send(from_.data, size_.bytes, 0);
        receive_boost();
      }
    });
  }

 private:
  // Two owners in one process, without spinning: who waits here waits for itself.
  struct Party {
    explicit Party(const test::LockFile& file) : one(file, 3, 1, 0), other(file, 4, 1, 0) {}
    test::Party one, other;
  };
  struct Memory {
    alignas(64) std::byte spsc[kRingBytes];
    alignas(64) std::byte mpmc[kRingBytes];
  };

  std::span<std::byte> spsc() { return memory_->spsc; }
  std::span<std::byte> mpmc() { return memory_->mpmc; }
  const SyncContext& me(bool is_producer) {
    if (!party_) {
      party_ = std::make_unique<test::Party>(file_, is_producer ? producer_token_ : 2, 1, spins_);
    }
    return party_->context;
  }
  std::span<const std::byte> message() const { return {from_.data, size_.bytes}; }

  void pass_in_place(bool is_producer) { pass_spsc(is_producer, false); }
  void pass_copied(bool is_producer) { pass_spsc(is_producer, true); }

  void pass_spsc(bool is_producer, bool copies_out) {
    const Deadline deadline = Deadline::after_ms(600'000);
    if (is_producer) {
      auto producer = SpscProducer::open(spsc(), me(true));
      need(producer.has_value(), "open");
      for (std::uint64_t i = 0; i < size_.messages; ++i)
        need(producer->send(message(), deadline).has_value(), "send");
      return;
    }
    auto consumer = SpscConsumer::open(spsc(), me(false));
    need(consumer.has_value(), "open");
    for (std::uint64_t i = 0; i < size_.messages; ++i) {
      const auto got = consumer->receive(deadline);
      need(got.has_value(), "receive");
      if (copies_out) {
        std::memcpy(into_.data, got->data(), got->size());
        look_at({into_.data, got->size()});
      } else {
        look_at(*got);
      }
      need(consumer->release().has_value(), "release");
    }
  }

  void pass_shared(bool is_producer) {
    const Deadline deadline = Deadline::after_ms(600'000);
    auto ring = MpmcRing::open(mpmc(), me(is_producer));
    need(ring.has_value(), "open");
    for (std::uint64_t i = 0; i < size_.messages; ++i) {
      if (is_producer) {
        need(ring->send(message(), deadline).has_value(), "send");
        continue;
      }
      auto got = ring->receive(deadline);
      need(got.has_value(), "receive");
      look_at(got->bytes);
      need(ring->release(*got).has_value(), "release");
    }
  }

  void pass_boost(bool is_producer) {
    for (std::uint64_t i = 0; i < size_.messages; ++i) {
      if (is_producer) {
        queue_->send(from_.data, size_.bytes, 0);
        continue;
      }
      receive_boost();
    }
  }
  void receive_boost() {
    std::size_t got = 0;
    unsigned priority = 0;
    queue_->receive(into_.data, size_.bytes, got, priority);
    look_at({into_.data, got});
  }

  void pass_pipe(bool is_producer) {
    for (std::uint64_t i = 0; i < size_.messages; ++i) {
      if (is_producer) {
        write_all(pipe_.ends[1], from_.data, size_.bytes);
        continue;
      }
      read_all(pipe_.ends[0], into_.data, size_.bytes);
      look_at({into_.data, size_.bytes});
    }
  }

  const Sizes size_;
  const std::uint32_t spins_;
  const std::string queue_name_;
  const std::uint32_t producer_token_;
  test::Shared<Memory> memory_;
  test::LockFile file_;
  std::unique_ptr<test::Party> party_;  // each process makes its own
  std::unique_ptr<ipc::message_queue> queue_;
  Pipe pipe_;
  Buffer from_, into_;
};

void compare_size(PairedBench& bench, const Sizes& size, const std::vector<int>& cpus,
                  std::uint32_t spins) {
  const auto ways = std::make_unique<Ways>(size, spins);
  ProcessPair pair(ways->tasks(), cpus[0], cpus.size() > 1 ? cpus[1] : cpus[0]);
  const auto way = [&](Ways::Way which) { return [&pair, which] { return pair.run(which); }; };
  const auto name = [&](const char* what) { return fmt::format("{}, {} B", what, size.bytes); };
  bench.compare({.name = name("ring in place"),
                 .peer = "Boost queue",
                 .goal = faster_by(size.goal),
                 .operations = size.messages},
                way(Ways::in_place), way(Ways::boost));
  bench.compare({.name = name("ring with copies"),
                 .peer = "Boost queue",
                 .goal = faster_by(size.goal),
                 .operations = size.messages},
                way(Ways::copied), way(Ways::boost));
  bench.compare({.name = name("many-to-many ring in place"),
                 .peer = "Boost queue",
                 .operations = size.messages},
                way(Ways::shared), way(Ways::boost));
  bench.compare({.name = name("ring with copies"), .peer = "pipe", .operations = size.messages},
                way(Ways::copied), way(Ways::pipes));
  bench.compare(
      {.name = name("ring in place, one process"),
       .peer = "Boost queue",
       .operations = size.messages},
      [&] { return ways->pass_alone(); }, [&] { return ways->pass_boost_alone(); });
}

int run(int argc, char** argv) {
  PairedBench bench(argc, argv);
  const std::vector<int> cpus = allowed_cpus();
  if (cpus.size() < 2) bench.note("one CPU only: producer and consumer share it");
  RealOs os;
  const std::uint32_t spins = SyncContext::spins_for(os);
  for (const Sizes& size : kSizes)
    compare_size(bench, size, cpus, spins);
  return bench.finish();
}

}  // namespace
}  // namespace strata::inline v0_1

int main(int argc, char** argv) { return strata::run(argc, argv); }
