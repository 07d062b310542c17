// Sharded primitives: several of one kind, each on cache lines of its own, so that threads on
// different CPUs seldom meet. How finely a lock is divided decides how fast it is.
//   Threads:  any thread of any attached process.
//   Lifetime: the segment must stay mapped; never copied or moved. Zeroed bytes will do.
//   Errors:   those of RobustMutex; counters have none.
//   Cost:     add: one atomic addition on the CPU's own shard. total: a look at every shard.
//   Persists: the counters are plain values and do; the locks do not.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "strata/os/cpu.h"
#include "strata/sync/robust_mutex.h"
#include "strata/sync/shared_word.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

inline constexpr std::size_t kShardBytes = 64;

// A sum that many processes add to.
template <std::size_t kShards = 16>
class alignas(kShardBytes) ShardedCounter {
  static_assert(std::has_single_bit(kShards));

 public:
  void add(std::int64_t delta) { add_to(current_cpu(), delta); }
  // For those who know better than the CPU's number: a worker's own index.
  void add_to(std::size_t shard, std::int64_t delta) {
    shards_[shard % kShards].value.fetch_add(delta, std::memory_order_relaxed);
  }
  // Of all additions that were finished before the call, and perhaps of some that were not.
  std::int64_t total() const {
    std::int64_t sum = 0;
    for (const Shard& shard : shards_)
      sum = static_cast<std::int64_t>(
          static_cast<std::uint64_t>(sum) +
          static_cast<std::uint64_t>(shard.value.load(std::memory_order_relaxed)));
    return sum;
  }

 private:
  struct alignas(kShardBytes) Shard {
    SharedWord<std::int64_t> value;
  };
  std::array<Shard, kShards> shards_;
};

static_assert(sizeof(ShardedCounter<16>) == 16 * kShardBytes);

// Several RobustMutexes, chosen by what is locked (a hash of its key), not by who locks.
template <std::size_t kShards = 16>
class alignas(kShardBytes) ShardedMutex {
  static_assert(std::has_single_bit(kShards));

 public:
  static constexpr std::size_t shard_of(std::uint64_t hash) {
    // Weak hashes (a pointer, a small integer) differ in few bits; this spreads them.
    return kShards == 1 ? 0 : hash * 0x9E3779B97F4A7C15 >> (64 - std::countr_zero(kShards));
  }
  RobustMutex& of(std::uint64_t hash) { return shards_[shard_of(hash)].mutex; }
  RobustMutex& operator[](std::size_t shard) { return shards_[shard].mutex; }
  static constexpr std::size_t size() { return kShards; }

 private:
  struct alignas(kShardBytes) Shard {
    RobustMutex mutex;
  };
  std::array<Shard, kShards> shards_;
};

static_assert(sizeof(ShardedMutex<16>) == 16 * kShardBytes);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
