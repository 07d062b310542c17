// The heap beside Boost.Interprocess, which is the only peer that two processes may allocate from
// at once, and beside mimalloc and malloc, which know one process alone. Two processes run at the
// same time on both sides of a pair. mimalloc and robin-map are used where they are installed
// (libmimalloc2.0, robin-map-dev); where they are not, the row says so.
#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <boost/interprocess/managed_external_buffer.hpp>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "bench/paired.h"
#include "heap/heap_testing.h"
#include "heap/layout.h"

#if __has_include(<tsl/robin_map.h>)
#include <tsl/robin_map.h>
#endif

using namespace strata;
using namespace strata::test;

namespace {

// Sizes and places drawn once, so that drawing them costs nothing while the clock runs.
struct Workload {
  Workload(const char* called, std::uint64_t least, std::uint64_t most, std::size_t live_blocks)
      : name(called), live(live_blocks), largest(most) {
    std::mt19937_64 random(12345);
    for (auto& size : sizes)
      size = static_cast<std::uint32_t>(least + random() % (most - least + 1));
    for (auto& place : places)
      place = static_cast<std::uint32_t>(random() % live);
  }
  std::string name;
  std::size_t live;  // blocks that are allocated at any time
  std::uint64_t largest;
  std::array<std::uint32_t, 65536> sizes, places;
};

// One allocator, as seen by one process or thread. A block is a number.
struct Ours {
  explicit Ours(Heap& its_heap) : heap(its_heap) {}
  std::uint64_t allocate(std::uint64_t bytes) { return heap.allocate(bytes)->bytes; }
  void free(std::uint64_t block) { (void)heap.free(Offset<std::byte>{block}); }
  Heap& heap;
};

using BoostHeap = boost::interprocess::basic_managed_external_buffer<
    char, boost::interprocess::rbtree_best_fit<boost::interprocess::mutex_family>,
    boost::interprocess::iset_index>;

struct Boost {
  explicit Boost(BoostHeap& its_heap) : heap(its_heap) {}
  std::uint64_t allocate(std::uint64_t bytes) {
    return reinterpret_cast<std::uint64_t>(heap.allocate(bytes));
  }
  void free(std::uint64_t block) { heap.deallocate(reinterpret_cast<void*>(block)); }
  BoostHeap& heap;
};

struct Private {
  void* (*allocate_one)(std::size_t);
  void (*free_one)(void*);
  std::uint64_t allocate(std::uint64_t bytes) {
    return reinterpret_cast<std::uint64_t>(allocate_one(bytes));
  }
  void free(std::uint64_t block) { free_one(reinterpret_cast<void*>(block)); }
};

// Functions of a library that is loaded beside the program's own allocator, not in its place.
std::optional<Private> load(const char* library, const char* allocate, const char* free) {
  void* const handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return std::nullopt;
  Private found{reinterpret_cast<void* (*)(std::size_t)>(dlsym(handle, allocate)),
                reinterpret_cast<void (*)(void*)>(dlsym(handle, free))};
  if (found.allocate_one == nullptr || found.free_one == nullptr) return std::nullopt;
  return found;
}

std::optional<Private> load_mimalloc() { return load("libmimalloc.so.2", "mi_malloc", "mi_free"); }

// Frees a block and allocates another, `count` times, among workload.live of them.
template <typename Allocator>
class Churn {
 public:
  Churn(Allocator allocator, const Workload& workload)
      : allocator_(allocator), workload_(workload), blocks_(workload.live) {
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      blocks_[i] = allocator_.allocate(workload.sizes[i % workload.sizes.size()]);
  }
  ~Churn() {
    for (const std::uint64_t block : blocks_)
      allocator_.free(block);
  }
  Churn(const Churn&) = delete;
  Churn& operator=(const Churn&) = delete;

  void run(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i)
      once();
  }
  std::uint32_t once() {
    const std::size_t at = next_++ % workload_.places.size();
    std::uint64_t& block = blocks_[workload_.places[at]];
    allocator_.free(block);
    size_at_ = (size_at_ + 7) % workload_.sizes.size();
    block = allocator_.allocate(workload_.sizes[size_at_]);
    return workload_.sizes[size_at_];
  }

 private:
  Allocator allocator_;
  const Workload& workload_;
  std::vector<std::uint64_t> blocks_;
  std::size_t next_ = 0, size_at_ = 0;
};

// Two processes that do the same at the same time, when told to.
class TwoProcesses {
 public:
  // `work` makes, in the child, the function that does `count` operations.
  template <typename Work>
  explicit TwoProcesses(Work work) {
    for (unsigned i = 0; i < 2; ++i) {
      children_[i] = start_child([&, i] {
        alarm(0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto run = work(i);
        control_->ready.fetch_add(1);
        for (std::uint64_t round = 1;; ++round) {
          while (control_->round.load() < round) {
          }
          const std::uint64_t start = monotonic_ns();
          run(control_->count.load());
          control_->ns[i] = monotonic_ns() - start;
          control_->done.fetch_add(1);
          usleep(100);
        }
      });
    }
    wait_until([&] { return control_->ready.load() == 2; });
  }
  ~TwoProcesses() {
    for (const pid_t child : children_)
      kill_child(child);
  }

  // The mean of both processes' times.
  double run_ns(std::uint64_t count) {
    control_->count = count;
    control_->done = 0;
    control_->round.fetch_add(1);
    wait_until([&] { return control_->done.load() == 2; });
    return static_cast<double>(control_->ns[0] + control_->ns[1]) / 2;
  }

 private:
  struct Control {
    std::atomic<std::uint64_t> ready{0}, round{0}, count{0}, done{0};
    std::array<std::atomic<std::uint64_t>, 2> ns{};
  };
  Shared<Control> control_;
  std::array<pid_t, 2> children_{};
};

struct SharedBytes {
  explicit SharedBytes(std::uint64_t count)
      : bytes(count),
        data(mmap(nullptr, count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    STRATA_CHECK(data != MAP_FAILED);
  }
  ~SharedBytes() { munmap(data, bytes); }
  std::uint64_t bytes;
  void* data;
};

constexpr std::uint64_t kHostBytes = MiB(512);

void compare_one_process(PairedBench& bench, const Workload& workload, double boost_factor) {
  HeapHost host(kHostBytes);
  Heap heap = Heap::create(host.segment()).value();
  Churn<Ours> ours(Ours(heap), workload);
  const std::uint64_t count = 20'000;
  const auto ours_side = [&] { return timed_ns([&] { ours.run(count); }); };
  {
    SharedBytes bytes(kHostBytes);
    BoostHeap boost_heap(boost::interprocess::create_only, bytes.data, bytes.bytes);
    Churn<Boost> boost(Boost(boost_heap), workload);
    bench.compare({.name = workload.name + ", one process",
                   .peer = "Boost",
                   .goal = faster_by(boost_factor),
                   .operations = count},
                  ours_side, [&] { return timed_ns([&] { boost.run(count); }); });
  }
  const std::array<std::pair<const char*, std::optional<Private>>, 2> privates = {
      std::pair{"mimalloc (private memory)", load_mimalloc()},
      std::pair{"malloc (private memory)", std::optional(Private{&::malloc, &::free})}};
  for (const auto& [name, allocator] : privates) {
    if (!allocator) {
      bench.note(fmt::format("{}: {} is not installed, left out", workload.name, name));
      continue;
    }
    Churn<Private> churn(*allocator, workload);
    // The goal is for small blocks.
    const bool has_goal = std::string(name).starts_with("mimalloc") && workload.largest <= 512;
    bench.compare({.name = workload.name + ", one thread",
                   .peer = name,
                   .goal = has_goal ? at_most(2.0) : no_goal(),
                   .operations = count},
                  ours_side, [&] { return timed_ns([&] { churn.run(count); }); });
  }
}

void compare_two_processes(PairedBench& bench, const Workload& workload, double boost_factor) {
  HeapHost host(kHostBytes);
  Heap heap = Heap::create(host.segment()).value();
  SharedBytes bytes(kHostBytes);
  BoostHeap boost_heap(boost::interprocess::create_only, bytes.data, bytes.bytes);
  TwoProcesses ours([&](unsigned) {
    auto mine = std::make_shared<Opened>(host);
    auto churn = std::make_shared<Churn<Ours>>(Ours(mine->heap), workload);
    return [mine, churn](std::uint64_t count) { churn->run(count); };
  });
  TwoProcesses boost([&](unsigned) {
    auto churn = std::make_shared<Churn<Boost>>(Boost(boost_heap), workload);
    return [churn](std::uint64_t count) { churn->run(count); };
  });
  const std::uint64_t count = 20'000;
  bench.compare(
      {.name = workload.name + ", two processes",
       .peer = "Boost",
       .goal = faster_by(boost_factor),
       .operations = count},
      [&] { return ours.run_ns(count); }, [&] { return boost.run_ns(count); });
}

// Two threads, or processes, beside one: 1.0 where they do not disturb each other.
void compare_scaling(PairedBench& bench, const Workload& workload) {
  HeapHost host(kHostBytes);
  Heap heap = Heap::create(host.segment()).value();
  const std::uint64_t count = 50'000;
  Churn<Ours> one(Ours(heap), workload);
  TwoProcesses two([&](unsigned) {
    auto mine = std::make_shared<Opened>(host);
    auto churn = std::make_shared<Churn<Ours>>(Ours(mine->heap), workload);
    return [mine, churn](std::uint64_t operations) { churn->run(operations); };
  });
  bench.compare(
      {.name = workload.name + ", each of two processes beside one alone",
       .ours = "two",
       .peer = "one",
       .operations = count},
      [&] { return two.run_ns(count); }, [&] { return timed_ns([&] { one.run(count); }); });
}

void tell_latency(PairedBench& bench, const Workload& workload) {
  if (!bench.wants(workload.name + ", latency")) return;
  HeapHost host(kHostBytes);
  Heap heap = Heap::create(host.segment()).value();
  struct Times {
    std::array<std::atomic<std::uint64_t>, 2> p50{}, p99{}, p999{};
  };
  const Shared<Times> times;
  TwoProcesses two([&](unsigned i) {
    auto mine = std::make_shared<Opened>(host);
    auto churn = std::make_shared<Churn<Ours>>(Ours(mine->heap), workload);
    return [mine, churn, i, &times](std::uint64_t count) {
      std::vector<std::uint32_t> ns(count);
      for (auto& one : ns) {
        const std::uint64_t start = monotonic_ns();
        churn->once();
        one = static_cast<std::uint32_t>(monotonic_ns() - start);
      }
      std::sort(ns.begin(), ns.end());
      times->p50[i] = ns[count / 2];
      times->p99[i] = ns[count * 99 / 100];
      times->p999[i] = ns[count * 999 / 1000];
    };
  });
  (void)two.run_ns(200'000);
  bench.note(
      fmt::format("{}, free + allocate in two processes, clock included: p50 {} / {} ns, "
                  "p99 {} / {} ns, p99.9 {} / {} ns (goal: p99 at most 1000)",
                  workload.name, times->p50[0].load(), times->p50[1].load(), times->p99[0].load(),
                  times->p99[1].load(), times->p999[0].load(), times->p999[1].load()));
}

std::uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * 4096;
}

// By how much a process grows that churns blocks and writes to both ends of each.
template <typename Make>
std::uint64_t growth_by_churn(const Workload& workload, Make make) {
  const Shared<std::uint64_t> grown;
  STRATA_CHECK(in_child([&] {
                 auto [allocator, address_of] = make();
                 std::mt19937_64 random(5);
                 std::vector<std::uint64_t> blocks(workload.live, 0);
                 const std::uint64_t before = resident_bytes();
                 for (std::uint64_t i = 0; i < 20 * workload.live; ++i) {
                   auto& block = blocks[i < workload.live ? i : random() % workload.live];
                   if (block != 0) allocator.free(block);
                   const std::uint64_t bytes = workload.sizes[random() % workload.sizes.size()];
                   block = allocator.allocate(bytes);
                   char* const text = address_of(block);
                   text[0] = text[bytes - 1] = 1;
                 }
                 *grown = resident_bytes() - before;
               }) == 0);
  return *grown;
}

void tell_footprint(PairedBench& bench, const Workload& workload) {
  const std::string name = workload.name + ", footprint";
  if (!bench.wants(name)) return;
  HeapHost host(kHostBytes);
  { const Heap made = Heap::create(host.segment()).value(); }
  const std::uint64_t ours = growth_by_churn(workload, [&] {
    auto mine = std::make_shared<Opened>(host);
    return std::pair(Ours(mine->heap), [mine](std::uint64_t block) {
      return reinterpret_cast<char*>(mine->heap.base() + block);
    });
  });
  const auto private_growth = [&](const Private& allocator) {
    return growth_by_churn(workload, [&] {
      return std::pair(allocator,
                       [](std::uint64_t block) { return reinterpret_cast<char*>(block); });
    });
  };
  const auto beside = [&](const char* peer, std::uint64_t theirs) {
    bench.note(
        fmt::format("{}: a process of {} live blocks grows by {:.1f} MiB, with {} by {:.1f} "
                    "MiB: {:.2f} times",
                    workload.name, workload.live, static_cast<double>(ours) / (1 << 20), peer,
                    static_cast<double>(theirs) / (1 << 20),
                    static_cast<double>(ours) / static_cast<double>(theirs)));
  };
  if (const auto mimalloc = load_mimalloc()) beside("mimalloc", private_growth(*mimalloc));
  beside("malloc", private_growth({&::malloc, &::free}));
}

// Bytes asked for, over the bytes of the spans that hold them and of their descriptors, after a
// churn.
void tell_space(PairedBench& bench, const Workload& workload, double goal) {
  if (!bench.wants(workload.name + ", space")) return;
  HeapHost host(kHostBytes);
  Heap heap = Heap::create(host.segment()).value();
  std::mt19937_64 random(99);
  std::vector<std::pair<std::uint64_t, std::uint32_t>> blocks(workload.live);
  std::uint64_t asked = 0;
  const auto draw = [&] { return workload.sizes[random() % workload.sizes.size()]; };
  for (auto& [block, bytes] : blocks) {
    bytes = draw();
    block = heap.allocate(bytes)->bytes;
    asked += bytes;
  }
  for (std::uint64_t i = 0; i < 20 * workload.live; ++i) {
    auto& [block, bytes] = blocks[random() % blocks.size()];
    (void)heap.free(Offset<std::byte>{block});
    asked -= bytes;
    bytes = draw();
    block = heap.allocate(bytes)->bytes;
    asked += bytes;
  }
  const auto spans = static_cast<double>(heap.inspect().value().span_bytes);
  const double tables = spans * sizeof(heap_layout::Descriptor) / heap_layout::kUnitBytes;
  bench.note(fmt::format(
      "{}: space used well after 20 rounds of churn over {} blocks: {:.3f} "
      "(goal {:.2f})",
      workload.name, workload.live, static_cast<double>(asked) / (spans + tables), goal));
}

template <typename Map>
void compare_find(PairedBench& bench, unsigned names, const char* peer) {
  HeapHost host(MiB(256));
  Heap heap = Heap::create(host.segment()).value();
  Map map;
  std::vector<std::string> keys;
  for (unsigned i = 0; i < names; ++i) {
    keys.push_back("object." + std::to_string(i * 7919u));
    STRATA_CHECK(heap.make<std::uint64_t>(keys.back(), i).has_value());
    map[keys.back()] = i;
  }
  std::shuffle(keys.begin(), keys.end(), std::mt19937(7));
  const std::uint64_t count = 20'000;
  std::size_t at = 0, peer_at = 0;
  bench.compare(
      {.name = fmt::format("find one of {} names", names),
       .peer = peer,
       .goal = at_most(1.8),
       .operations = count},
      [&] {
        return timed_ns([&] {
          for (std::uint64_t i = 0; i < count; ++i)
            keep(**heap.find<std::uint64_t>(keys[at++ % keys.size()]));
        });
      },
      [&] {
        return timed_ns([&] {
          for (std::uint64_t i = 0; i < count; ++i)
            keep(map.find(keys[peer_at++ % keys.size()])->second);
        });
      });
  TwoProcesses two([&](unsigned) {
    auto mine = std::make_shared<Opened>(host);
    return [mine, &keys](std::uint64_t operations) {
      for (std::uint64_t i = 0; i < operations; ++i)
        keep(**mine->heap.find<std::uint64_t>(keys[i % keys.size()]));
    };
  });
  bench.compare(
      {.name = fmt::format("find one of {} names, each of two readers beside one", names),
       .ours = "two",
       .peer = "one",
       .operations = count},
      [&] { return two.run_ns(count); },
      [&] {
        return timed_ns([&] {
          for (std::uint64_t i = 0; i < count; ++i)
            keep(**heap.find<std::uint64_t>(keys[at++ % keys.size()]));
        });
      });
}

}  // namespace

int main(int argc, char** argv) {
  PairedBench bench(argc, argv);
  // First: later this process has memory to spare that its children inherit.
  tell_footprint(bench, Workload("64 B", 64, 64, 100'000));
  tell_footprint(bench, Workload("16-512 B", 16, 512, 100'000));
  const Workload small("64 B", 64, 64, 10'000);
  const Workload mixed("16-512 B", 16, 512, 10'000);
  const Workload wide("16 B-64 KiB", 16, 65'536, 1'000);
  compare_one_process(bench, small, 10);
  compare_one_process(bench, mixed, 10);
  compare_one_process(bench, wide, 2);
  compare_two_processes(bench, small, 10);
  compare_two_processes(bench, mixed, 40);
  compare_two_processes(bench, wide, 10);
  compare_scaling(bench, small);
  compare_scaling(bench, mixed);
  tell_latency(bench, mixed);
  tell_space(bench, Workload("64 B", 64, 64, 100'000), 0.95);
  tell_space(bench, Workload("16-512 B", 16, 512, 100'000), 0.63);
  tell_space(bench, Workload("16 B-64 KiB", 16, 65'536, 4'000), 0.85);
#if __has_include(<tsl/robin_map.h>)
  using Flat = tsl::robin_map<std::string, std::uint64_t>;
  compare_find<Flat>(bench, 1'000, "private flat map (tsl::robin_map)");
  compare_find<Flat>(bench, 100'000, "private flat map (tsl::robin_map)");
#else
  bench.note("robin-map-dev is not installed: std::unordered_map stands for a private flat map");
  compare_find<std::unordered_map<std::string, std::uint64_t>>(bench, 1'000, "unordered_map");
  compare_find<std::unordered_map<std::string, std::uint64_t>>(bench, 100'000, "unordered_map");
#endif
  return bench.finish();
}
