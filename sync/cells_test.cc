// SeqLock, VersionedCell, Published and the sharded primitives.
#include <thread>
#include <vector>

#include "strata/sync/published.h"
#include "strata/sync/seq_lock.h"
#include "strata/sync/sharded.h"
#include "strata/sync/versioned_cell.h"
#include "sync/placed_shards.h"
#include "sync/sync_testing.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;

namespace {

Deadline soon() { return Deadline::after_ms(60'000); }

struct Pair {
  std::uint64_t a = 0, b = 0, c = 0;
  bool is_whole() const { return a == b && b == c; }
};

}  // namespace

TEST_CASE("readers_of_a_seqlock_never_see_half_a_write") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<SeqCell<Pair>> cell;
  std::vector<pid_t> writers;
  for (std::uint32_t i = 0; i < 2; ++i) {
    writers.push_back(start_child([&] {
      const Party me(file, 2 + i);
      for (std::uint64_t n = 0; n < 3000; ++n) {
        const auto how = cell->update(
            me.context, [](Pair& pair) { ++pair.a, ++pair.b, ++pair.c; }, soon());
        if (!how || *how != Acquired::clean) _exit(1);
      }
    }));
  }
  std::uint64_t last = 0;
  while (last < 6000) {
    const auto pair = cell->read(us.context, soon());
    REQUIRE(pair);
    REQUIRE(pair->is_whole());
    REQUIRE(pair->a >= last);
    last = pair->a;
  }
  for (const pid_t writer : writers)
    CHECK(wait_for(writer) == 0);
}

TEST_CASE("a_reader_of_a_read_only_mapping_reads_a_seqlock") {
  const LockFile file;
  const Party us(file, 1);
  RealOs os;
  const Fd memory = os.memfd_create("cell", 0).value();
  REQUIRE(os.ftruncate(memory.get(), 4096));
  std::byte* writable = os.mmap({.bytes = 4096, .fd = memory.get()}).value();
  const std::byte* readable =
      os.mmap({.bytes = 4096, .protection = PROT_READ, .fd = memory.get()}).value();
  auto& cell = *new (writable) SeqCell<Pair>;
  const auto& view = *reinterpret_cast<const SeqCell<Pair>*>(readable);
  REQUIRE(cell.write(us.context, {7, 7, 7}, soon()));
  CHECK(view.read(us.context, soon()).value().a == 7);
  // While somebody writes it waits without writing, too.
  REQUIRE(cell.lock().begin_write(us.context, soon()));
  CHECK(view.read(us.context, Deadline::after_ms(3)).error().code() == Code::timed_out);
}

TEST_CASE("a_writer_killed_in_the_middle_is_not_ready_to_readers_until_the_next_write") {
  const LockFile file;
  const Party us(file, 1);
  const Shared<SeqCell<Pair>> cell;
  const int status = in_child([&] {
    const Party me(file, 2);
    if (!cell->lock().begin_write(me.context, soon())) _exit(1);
    die();
  });
  REQUIRE(was_killed(status));
  const auto refused = cell->read(us.context, Deadline::after_ms(3));
  REQUIRE(!refused);
  CHECK(refused.error().code() == Code::not_ready);
  CHECK(refused.error().message().find("token 2") != std::string::npos);
  CHECK(cell->update(
                us.context,
                [](Pair& pair) {
                  pair = {1, 1, 1};
                },
                soon())
            .value() == Acquired::owner_died);
  CHECK(cell->read(us.context, soon()).value().a == 1);
}

TEST_CASE("a_write_that_a_generation_left_unfinished_is_told_to_the_next") {
  const LockFile file;
  const Party before(file, 1, 1), after(file, 2, 2);
  SeqLock lock;
  REQUIRE(lock.begin_write(before.context, soon()));
  CHECK(lock.begin_read(after.context, Deadline::after_ms(1)).error().code() == Code::not_ready);
  CHECK(lock.begin_write(after.context, soon()).value() == Acquired::owner_died);
  REQUIRE(lock.end_write(after.context));
  CHECK(lock.begin_read(after.context, soon()));
}

TEST_CASE("end_write_without_begin_write_is_refused") {
  const LockFile file;
  const Party us(file, 1);
  SeqLock lock;
  CHECK(lock.end_write(us.context).error().code() == Code::failed_precondition);
}

TEST_CASE("a_versioned_cell_sees_that_a_value_came_back") {
  VersionedCell cell;
  VersionedCell::Snapshot early = cell.load();
  VersionedCell::Snapshot other = early;
  REQUIRE(cell.compare_exchange(other, 5));
  REQUIRE(cell.compare_exchange(other, 0));
  CHECK(cell.load().value == early.value);
  CHECK_FALSE(cell.compare_exchange(early, 9));
  CHECK(early == cell.load());
  CHECK(early.version == 2);
  CHECK(cell.compare_exchange(early, 9));
  CHECK(cell.load().value == 9);
}

TEST_CASE("no_change_of_a_versioned_cell_is_lost") {
  constexpr int kRounds = 20'000;
  VersionedCell cell;
  const auto add = [&] {
    for (int i = 0; i < kRounds; ++i) {
      VersionedCell::Snapshot seen = cell.load();
      while (!cell.compare_exchange(seen, seen.value + 3)) {
      }
    }
  };
  std::thread other(add);
  add();
  other.join();
  CHECK(cell.load() == VersionedCell::Snapshot{6 * kRounds, 2 * kRounds});
}

TEST_CASE("whoever_consumes_sees_what_was_written_before_publish") {
  struct State {
    std::uint64_t data[8] = {};
    Published ready;
  };
  State state;
  std::thread reader([&] {
    std::uint64_t round = 0;
    while (round < 2000) {
      const std::uint64_t seen = state.ready.consume();
      if (seen == round) continue;
      round = seen;
      std::uint64_t sum = 0;
      for (const std::uint64_t& word : state.data)
        sum += __atomic_load_n(&word, __ATOMIC_RELAXED);
      if (sum < 8 * round) std::abort();
    }
  });
  for (std::uint64_t round = 1; round <= 2000; ++round) {
    for (std::uint64_t& word : state.data)
      __atomic_store_n(&word, round, __ATOMIC_RELAXED);
    state.ready.publish(round);
  }
  reader.join();
  SUCCEED("never saw an older round");
}

TEST_CASE("a_sharded_counter_loses_no_addition") {
  const Shared<ShardedCounter<16>> counter;
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    children.push_back(start_child([&] {
      for (int n = 0; n < 50'000; ++n)
        counter->add(n % 3 - 1);
      counter->add(i);
    }));
  }
  for (const pid_t child : children)
    REQUIRE(wait_for(child) == 0);
  // 50,000 is 2 more than a multiple of 3: the last two add -1 and 0.
  CHECK(counter->total() == 3 * -1 + (0 + 1 + 2));
}

TEST_CASE("a_sharded_mutex_locks_what_is_hashed_alike_and_nothing_else") {
  const LockFile file;
  const Party us(file, 1);
  ShardedMutex<16> mutexes;
  REQUIRE(mutexes.of(1).lock(us.context, soon()));
  CHECK(mutexes.of(1).try_lock(us.context).error().code() == Code::timed_out);
  std::size_t used = 0;
  for (std::size_t i = 0; i < 16; ++i)
    used += ShardedMutex<16>::shard_of(i) != ShardedMutex<16>::shard_of(1) ? 1 : 0;
  CHECK(used > 8);
  CHECK(mutexes.of(2).lock(us.context, soon()));
}

TEST_CASE("placed_shards_give_each_cpu_one_of_the_range_near_to_it") {
  struct alignas(64) Memory {
    std::byte bytes[6 * 64] = {};
  };
  Memory memory;
  const std::span<std::byte> all(memory.bytes);
  const int of_0[] = {0, 2}, of_1[] = {1, 3, 5};
  const ShardRange ranges[] = {{all.first(2 * 64), of_0},
                               {all.subspan(2 * 64, 3 * 64), of_1},
                               {all.subspan(5 * 64, 64), {}}};  // a node without processors
  const auto shards = PlacedShards<SharedWord<std::int64_t>>::open(ranges);
  REQUIRE(shards);
  const auto shard_of = [&](std::size_t cpu) {
    return (reinterpret_cast<std::byte*>(&shards->of_cpu(cpu)) - all.data()) / 64;
  };
  CHECK(std::array{shard_of(0), shard_of(2)} == std::array{0l, 1l});
  CHECK(std::array{shard_of(1), shard_of(3), shard_of(5)} == std::array{2l, 3l, 4l});
  // CPUs that nobody named, known to the table or beyond it.
  CHECK((shard_of(4) < 2 && shard_of(1000) < 2));
  for (std::uint64_t hash = 0; hash < 100; ++hash) {
    const auto* const at = reinterpret_cast<std::byte*>(&shards->of(1, hash));
    REQUIRE((at >= all.data() + 2 * 64 && at < all.data() + 5 * 64));
  }
  using Shards = PlacedShards<RobustMutex>;
  CHECK(Shards::open({}).error().code() == Code::invalid_argument);
  for (const std::span<std::byte> wrong : {all.first(0), all.first(100), all.subspan(8, 64)}) {
    const ShardRange range[] = {{wrong, of_0}};
    CHECK(Shards::open(range).error().code() == Code::invalid_argument);
  }
}

TEST_CASE("a_placed_counter_sums_what_all_processes_added_on_all_ranges") {
  struct Memory {
    alignas(64) std::byte first[4 * 64];
    alignas(64) std::byte second[4 * 64];
  };
  const Shared<Memory> memory;
  const std::vector<int> cpus = RealOs().get_affinity().value();
  const std::span<const int> some(cpus.data(), 1);
  const ShardRange ranges[] = {{memory->first, some}, {memory->second, std::span(cpus).subspan(1)}};
  constexpr std::int64_t kAdds = 20'000;
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    children.push_back(start_child([&] {
      auto counter = PlacedCounter::open(ranges);
      if (!counter) _exit(1);
      for (std::int64_t n = 0; n < kAdds; ++n)
        counter->add(n % 2 == 0 ? 3 : -1);
    }));
  }
  for (const pid_t child : children)
    CHECK(wait_for(child) == 0);
  CHECK(PlacedCounter::open(ranges)->total() == 3 * kAdds);
}
