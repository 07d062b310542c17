// Shards that lie on several memory nodes: each CPU has one on a node near to it, so that what it
// adds, or locks, never travels between nodes.
//
//     // One range of the payload on each node (Placement says where they go), zeroed or in use.
//     const ShardRange ranges[] = {{.bytes = on_node_0, .near_cpus = cpus_of_0},
//                                  {.bytes = on_node_1, .near_cpus = cpus_of_1}};
//     STRATA_ASSIGN(PlacedCounter hits, PlacedCounter::open(ranges));
//     hits.add(1);
//
//   Threads:  any thread of any attached process; each process opens its own view.
//   Lifetime: the segment must stay mapped. A forked child may go on with its copy.
//   Errors:   open: invalid_argument for ranges that are no whole shards.
//   Cost:     here(): the CPU's number and one load. total(): a look at every shard.
//   Persists: the bytes of the shards; the view does not.
// All processes give the same ranges: the sum is over those. Which CPUs are near is for speed
// alone. Where one range will do, take ShardedCounter and ShardedMutex.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "strata/base/result.h"
#include "strata/os/cpu.h"
#include "strata/sync/sharded.h"

namespace strata::inline v0_1 {

struct ShardRange {
  std::span<std::byte> bytes;      // aligned to kShardBytes, a multiple of it
  std::span<const int> near_cpus;  // may be empty: a node without processors
};

template <typename Value>
class PlacedShards {
  static_assert(sizeof(Value) <= kShardBytes);

 public:
  static Result<PlacedShards> open(std::span<const ShardRange> ranges) {
    PlacedShards view;
    for (const ShardRange& range : ranges) {
      if (range.bytes.empty() || range.bytes.size() % kShardBytes != 0 ||
          reinterpret_cast<std::uintptr_t>(range.bytes.data()) % kShardBytes != 0) {
        return fail(Code::invalid_argument, "shards: a range is empty, or no whole cache lines");
      }
      view.ranges_.push_back({range.bytes.data(), range.bytes.size() / kShardBytes});
      view.give_to(range.near_cpus, view.ranges_.back());
    }
    if (ranges.empty()) return fail(Code::invalid_argument, "shards: no range");
    for (std::size_t cpu = 0; cpu < view.of_cpu_.size(); ++cpu)
      if (view.of_cpu_[cpu] == nullptr) view.of_cpu_[cpu] = view.ranges_[0].shard(cpu);
    return view;
  }

  // Of the CPU that runs this. A CPU that no range is near to shares those of the first.
  Value& here() const { return of_cpu(current_cpu()); }
  Value& of_cpu(std::size_t cpu) const {
    return *(cpu < of_cpu_.size() ? of_cpu_[cpu] : ranges_[0].shard(cpu));
  }
  // By what is locked: a shard of the range on whose node that lies.
  Value& of(std::size_t range, std::uint64_t hash) const {
    return *ranges_[range].shard(hash * 0x9E3779B97F4A7C15 >> 32);
  }
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const Shards& shards : ranges_)
      for (std::size_t i = 0; i < shards.count; ++i)
        visit(*shards.shard(i));
  }

 private:
  struct Shards {
    std::byte* at;
    std::size_t count;
    Value* shard(std::uint64_t i) const {
      return reinterpret_cast<Value*>(at + i % count * kShardBytes);
    }
  };
  PlacedShards() = default;
  void give_to(std::span<const int> cpus, const Shards& shards) {
    std::size_t next = 0;
    for (const int cpu : cpus) {
      if (cpu < 0) continue;
      const auto index = static_cast<std::size_t>(cpu);
      if (index >= of_cpu_.size()) of_cpu_.resize(index + 1);
      if (of_cpu_[index] == nullptr) of_cpu_[index] = shards.shard(next++);
    }
  }

  std::vector<Shards> ranges_;
  std::vector<Value*> of_cpu_;
};

class PlacedCounter {
 public:
  static Result<PlacedCounter> open(std::span<const ShardRange> ranges) {
    STRATA_ASSIGN(auto shards, PlacedShards<SharedWord<std::int64_t>>::open(ranges));
    return PlacedCounter(std::move(shards));
  }
  void add(std::int64_t delta) { shards_.here().fetch_add(delta, std::memory_order_relaxed); }
  // As ShardedCounter::total.
  std::int64_t total() const {
    std::uint64_t sum = 0;
    shards_.for_each([&](const SharedWord<std::int64_t>& shard) {
      sum += static_cast<std::uint64_t>(shard.load(std::memory_order_relaxed));
    });
    return static_cast<std::int64_t>(sum);
  }

 private:
  explicit PlacedCounter(PlacedShards<SharedWord<std::int64_t>> shards)
      : shards_(std::move(shards)) {}
  PlacedShards<SharedWord<std::int64_t>> shards_;
};

}  // namespace strata::inline v0_1
