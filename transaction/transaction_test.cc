#include "strata/transaction/transaction.h"

#include <map>
#include <random>
#include <stdexcept>
#include <thread>

#include "tests/catch.h"
#include "transaction/transaction_testing.h"

using namespace strata;
using namespace strata::test;

namespace {

constexpr TransactionLogOptions kLog = {.slot_count = 4, .slot_bytes = KiB(16)};

// One process over volatile or durable memory.
struct World {
  explicit World(Durability& how = volatile_durability(),
                 const TransactionLogOptions& options = kLog)
      : durability(how), bytes(test_payload_bytes(options)) {
    REQUIRE(TransactionLog::format(bytes.span(), kTestLogAt, options, durability));
    me.emplace(file, bytes.span(), 1, durability);
    REQUIRE(me->open());
  }
  template <typename Function>
  Result<void> run(Function&& function) {
    return transact(me->log(), me->lock(0), std::forward<Function>(function));
  }
  TestPayload& data() { return me->data(); }
  bool is_whole() {
    std::string why;
    REQUIRE(me->log().checkpoint());
    const bool whole = list_is_whole(*me, why);
    INFO(why);
    CHECK(whole);
    CHECK(me->log().report().findings.empty());
    return whole;
  }

  LockFile file;
  Durability& durability;
  SharedBytes bytes;
  std::optional<TestProcess> me;
};

template <typename Body>
void with_each_durability(Body body) {
  PretendDurability cache_lines(64), pages(4096);
  Durability* all[] = {&volatile_durability(), &cache_lines, &pages};
  for (Durability* durability : all) {
    INFO("volatile " << durability->is_volatile() << ", granularity "
                     << durability->granularity_bytes());
    World world(*durability);
    body(world);
  }
}

}  // namespace

TEST_CASE("a_commit_does_all_writes_allocations_and_frees") {
  with_each_durability([](World& world) {
    REQUIRE(world.run([&](Transaction& tx) -> Result<void> {
      for (std::size_t i = 0; i < 100; ++i)
        STRATA_TRY(tx.write(world.data().cells[i], i + 1));
      STRATA_TRY(push_node(tx, world.data()));
      return push_node(tx, world.data());
    }));
    for (std::size_t i = 0; i < 100; ++i)
      CHECK(world.data().cells[i] == i + 1);
    CHECK(world.data().listed == 2);
    REQUIRE(world.run([&](Transaction& tx) { return pop_node(tx, world.data()); }));
    CHECK(world.data().listed == 1);
    CHECK(world.is_whole());
  });
}

TEST_CASE("an_error_undoes_writes_snapshots_allocations_and_frees") {
  with_each_durability([](World& world) {
    REQUIRE(world.run([&](Transaction& tx) { return push_node(tx, world.data()); }));
    const std::uint64_t list = world.data().list;
    const auto result = world.run([&](Transaction& tx) -> Result<void> {
      STRATA_TRY(tx.write(world.data().cells[0], 7));
      STRATA_TRY(tx.snapshot(world.data().cells[1]));
      world.data().cells[1] = 8;
      STRATA_TRY(pop_node(tx, world.data()));
      STRATA_TRY(push_node(tx, world.data()));
      return fail(Code::failed_precondition, "changed my mind");
    });
    REQUIRE(!result);
    CHECK(result.error().message() == "changed my mind");
    CHECK(world.data().cells[0] == 0);
    CHECK(world.data().cells[1] == 0);
    CHECK(world.data().list == list);
    CHECK(world.is_whole());
    CHECK(world.run([](Transaction&) { return Result<void>(); }));  // the lock is free
  });
}

TEST_CASE("transactions_on_two_logs_nest_and_keep_their_records_apart") {
  PretendDurability cache_lines(64);
  with_each_durability([&](World& outer) {
    World inner(cache_lines, {.slot_count = 2, .slot_bytes = KiB(64)});
    for (std::uint64_t round = 1; round <= 3; ++round) {
      REQUIRE(outer.run([&](Transaction& tx) -> Result<void> {
        STRATA_TRY(tx.write(outer.data().cells[0], 10 * round));
        STRATA_TRY(inner.run([&](Transaction& nested) -> Result<void> {
          for (std::size_t i = 0; i < 100; ++i)
            STRATA_TRY(nested.write(inner.data().cells[i], 20 * round + i));
          return {};
        }));
        return tx.write(outer.data().cells[1], 30 * round);
      }));
      CHECK(outer.data().cells[0] == 10 * round);
      CHECK(outer.data().cells[1] == 30 * round);
      for (std::size_t i = 0; i < 100; ++i)
        CHECK(inner.data().cells[i] == 20 * round + i);
    }
    CHECK(outer.is_whole());
    CHECK(inner.is_whole());
  });
}

TEST_CASE("an_exception_undoes_everything_and_passes_on") {
  with_each_durability([](World& world) {
    CHECK_THROWS_AS(world.run([&](Transaction& tx) -> Result<void> {
      STRATA_TRY(push_node(tx, world.data()));
      STRATA_TRY(tx.snapshot(world.data().cells));
      world.data().cells.fill(3);
      throw std::runtime_error("oh");
    }),
                    std::runtime_error);
    CHECK(world.data().cells[9] == 0);
    CHECK(world.data().listed == 0);
    CHECK(world.is_whole());
    CHECK(world.run([](Transaction&) { return Result<void>(); }));
  });
}

TEST_CASE("a_transaction_reads_what_it_wrote_and_others_do_not") {
  with_each_durability([](World& world) {
    REQUIRE(world.run([&](Transaction& tx) -> Result<void> {
      STRATA_TRY(tx.write(world.data().cells[0], 5));
      STRATA_TRY(tx.write(world.data().cells[0], tx.read(world.data().cells[0]) + 1));
      CHECK(tx.read(world.data().cells[0]) == 6);
      CHECK(world.data().cells[0] == 0);
      return {};
    }));
    CHECK(world.data().cells[0] == 6);
  });
}

TEST_CASE("overlapping_writes_of_all_sizes_read_and_commit_as_they_would_in_plain_memory") {
  const unsigned seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  with_each_durability([&](World& world) {
    auto* const bytes = reinterpret_cast<std::byte*>(world.data().cells.data());
    for (int round = 0; round < 40; ++round) {
      std::vector<std::byte> reference(bytes, bytes + sizeof(TestPayload::cells));
      const unsigned count = 1 + random() % 60;
      REQUIRE(world.run([&](Transaction& tx) -> Result<void> {
        for (unsigned i = 0; i < count; ++i) {
          const std::size_t at = random() % reference.size();
          const std::size_t size = random() % std::min<std::size_t>(150, reference.size() - at + 1);
          std::vector<std::byte> value(size, static_cast<std::byte>(random()));
          STRATA_TRY(tx.write_bytes(bytes + at, value.data(), size));
          std::copy(value.begin(), value.end(), reference.begin() + static_cast<long>(at));
          const std::size_t from = random() % reference.size();
          std::vector<std::byte> seen(random() % (reference.size() - from + 1));
          tx.read_bytes(seen.data(), bytes + from, seen.size());
          CHECK(std::equal(seen.begin(), seen.end(), reference.begin() + static_cast<long>(from)));
        }
        return {};
      }));
      CHECK(std::equal(reference.begin(), reference.end(), bytes));
    }
  });
}

TEST_CASE("snapshotted_objects_are_changed_in_place_also_by_write") {
  with_each_durability([](World& world) {
    REQUIRE(world.run([&](Transaction& tx) -> Result<void> {
      STRATA_TRY(tx.snapshot(world.data().cells));
      world.data().cells[3] = 33;
      STRATA_TRY(tx.write(world.data().cells[4], 44));
      CHECK(world.data().cells[4] == 44);
      return tx.snapshot(world.data().cells[3]);  // again: nothing to do
    }));
    CHECK(world.data().cells[3] == 33);
    CHECK(world.data().cells[4] == 44);
  });
}

TEST_CASE("a_snapshot_after_a_write_is_refused_and_leaves_nothing_changed") {
  World world;
  const auto result = world.run([&](Transaction& tx) -> Result<void> {
    STRATA_TRY(tx.write(world.data().cells[3], 1));
    (void)tx.snapshot(world.data().cells);  // ignored on purpose
    return {};
  });
  REQUIRE(!result);
  CHECK(result.error().code() == Code::failed_precondition);
  CHECK(world.data().cells[3] == 0);
}

TEST_CASE("a_full_log_is_exhausted_and_leaves_nothing_changed_even_if_the_error_is_ignored") {
  with_each_durability([](World& world) {
    const auto result = world.run([&](Transaction& tx) -> Result<void> {
      STRATA_TRY(push_node(tx, world.data()));
      std::vector<std::byte> large(kBlockBytes);
      for (std::uint32_t i = 100; i < 200; ++i) {
        (void)tx.write_bytes(world.data().blocks[i].data(), large.data(), large.size());
      }
      return {};
    });
    REQUIRE(!result);
    CHECK(result.error().code() == Code::exhausted);
    CHECK(world.data().listed == 0);
    CHECK(world.is_whole());
  });
}

TEST_CASE("a_full_heap_is_exhausted_and_leaves_nothing_changed") {
  with_each_durability([](World& world) {
    const auto result = world.run([&](Transaction& tx) -> Result<void> {
      for (std::uint32_t i = 0; i <= kBlocksPerToken; ++i)
        STRATA_TRY(push_node(tx, world.data()));
      return {};
    });
    REQUIRE(!result);
    CHECK(result.error().code() == Code::exhausted);
    CHECK(world.is_whole());
  });
}

TEST_CASE("blocks_freed_on_durable_memory_come_back_when_the_heap_is_full") {
  with_each_durability([](World& world) {
    for (int round = 0; round < 200; ++round) {
      REQUIRE(world.run([&](Transaction& tx) { return push_node(tx, world.data()); }));
      REQUIRE(world.run([&](Transaction& tx) { return pop_node(tx, world.data()); }));
    }
    CHECK(world.is_whole());
  });
}

TEST_CASE("freeing_twice_or_nowhere_is_refused") {
  with_each_durability([](World& world) {
    REQUIRE(world.run([&](Transaction& tx) { return push_node(tx, world.data()); }));
    const Offset<std::byte> block{world.data().list};
    auto result = world.run([&](Transaction& tx) -> Result<void> {
      STRATA_TRY(tx.free(block));
      return tx.free(block);
    });
    REQUIRE(!result);
    CHECK(result.error().code() == Code::failed_precondition);
    result =
        world.run([&](Transaction& tx) { return tx.free(Offset<std::byte>{block.bytes + 8}); });
    CHECK(result.error().code() == Code::invalid_argument);
    result = world.run(
        [&](Transaction& tx) { return tx.free(Offset<std::byte>{TestBlocks::offset_of(300)}); });
    CHECK(result.error().code() == Code::failed_precondition);
    CHECK(world.is_whole());
  });
}

TEST_CASE("a_block_allocated_and_freed_in_one_transaction_is_free_either_way") {
  with_each_durability([](World& world) {
    REQUIRE(world.run([&](Transaction& tx) -> Result<void> {
      STRATA_ASSIGN(const auto block, tx.allocate(64));
      return tx.free(block);
    }));
    CHECK(world.is_whole());
    CHECK(!world.run([&](Transaction& tx) -> Result<void> {
      STRATA_ASSIGN(const auto block, tx.allocate(64));
      STRATA_TRY(tx.free(block));
      return fail(Code::internal, "no");
    }));
    CHECK(world.is_whole());
  });
}

TEST_CASE("writes_outside_the_payload_or_into_the_log_are_refused") {
  World world;
  std::uint64_t elsewhere = 1;
  auto result = world.run([&](Transaction& tx) { return tx.write(elsewhere, 2); });
  REQUIRE(!result);
  CHECK(result.error().code() == Code::invalid_argument);
  CHECK(elsewhere == 1);
  auto* const log = reinterpret_cast<std::uint64_t*>(world.bytes.span().data() + kTestLogAt);
  result = world.run([&](Transaction& tx) { return tx.write(*log, 2); });
  REQUIRE(!result);
  CHECK(result.error().code() == Code::invalid_argument);
}

TEST_CASE("nested_calls_join_and_commit_or_fail_as_one") {
  with_each_durability([](World& world) {
    TransactionLog& log = world.me->log();
    REQUIRE(world.run([&](Transaction& tx) -> Result<void> {
      STRATA_TRY(tx.write(world.data().cells[0], 1));
      // The same lock, and another one.
      STRATA_TRY(transact(log, world.me->lock(0), [&](Transaction& inner) -> Result<void> {
        CHECK(&inner == &tx);
        CHECK(inner.read(world.data().cells[0]) == 1);
        return inner.write(world.data().cells[1], 2);
      }));
      return transact(log, world.me->lock(1),
                      [&](Transaction& inner) { return inner.write(world.data().cells[2], 3); });
    }));
    CHECK(world.data().cells[2] == 3);
    CHECK(!world.me->lock(1).is_held_by(world.me->context()));
    const auto result = world.run([&](Transaction& tx) -> Result<void> {
      STRATA_TRY(tx.write(world.data().cells[0], 100));
      (void)transact(log, world.me->lock(1),
                     [&](Transaction&) -> Result<void> { return fail(Code::not_found, "inner"); });
      return {};  // the inner error is ignored on purpose
    });
    REQUIRE(!result);
    CHECK(result.error().message() == "inner");
    CHECK(world.data().cells[0] == 1);
  });
}

TEST_CASE("several_locks_are_taken_in_one_order_so_that_nobody_waits_for_ever") {
  World world;
  const auto count_up = [&](int first, int second, std::uint64_t rounds) {
    for (std::uint64_t i = 0; i < rounds; ++i) {
      RobustMutex* const locks[] = {&world.me->lock(first), &world.me->lock(second)};
      STRATA_CHECK(transact(world.me->log(), locks, [&](Transaction& tx) {
                     return tx.write(world.data().cells[0], tx.read(world.data().cells[0]) + 1);
                   }).has_value());
    }
  };
  std::thread other([&] { count_up(1, 0, 2000); });
  count_up(0, 1, 2000);
  other.join();
  CHECK(world.data().cells[0] == 4000);
}

TEST_CASE("a_lock_that_stays_held_times_out_and_changes_nothing") {
  World world;
  TestProcess other(world.file, world.bytes.span(), 2, volatile_durability());
  REQUIRE(other.open());
  REQUIRE(other.lock(1).try_lock(other.context()));
  RobustMutex* const locks[] = {&world.me->lock(0), &world.me->lock(1)};
  bool ran = false;
  const auto result = transact(world.me->log(), locks,
                               [&](Transaction&) {
                                 ran = true;
                                 return Result<void>();
                               },
                               {.timeout_ms = 5});
  REQUIRE(!result);
  CHECK(result.error().code() == Code::timed_out);
  CHECK(!ran);
  CHECK(!world.me->lock(0).is_held_by(world.me->context()));
}

TEST_CASE("more_transactions_than_slots_wait_for_each_other") {
  World world(volatile_durability(), {.slot_count = 1, .slot_bytes = KiB(4)});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        STRATA_CHECK(transact(world.me->log(), world.me->lock(t), [&](Transaction& tx) {
                       auto& cell = world.data().cells[static_cast<std::size_t>(t)];
                       return tx.write(cell, tx.read(cell) + 1);
                     }).has_value());
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  for (std::size_t t = 0; t < 4; ++t)
    CHECK(world.data().cells[t] == 50);
}

TEST_CASE("concurrent_committers_share_the_log_on_every_kind_of_memory") {
  with_each_durability([](World& world) {
    std::vector<std::thread> threads;
    std::mutex mutex;
    std::string error;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 300; ++i) {
          const auto done = transact(world.me->log(), world.me->lock(t % 2), [&](Transaction& tx) {
            auto& cell = world.data().cells[static_cast<std::size_t>(t % 2)];
            return tx.write(cell, tx.read(cell) + 1);
          });
          const std::lock_guard guard(mutex);
          if (!done) error = done.error().to_string();
        }
      });
    }
    for (std::thread& thread : threads)
      thread.join();
    CHECK(error == "");
    CHECK(world.data().cells[0] == 600);
    CHECK(world.data().cells[1] == 600);
  });
}

TEST_CASE("a_damaged_log_is_refused_at_open") {
  World world;
  const auto bytes = world.bytes.span();
  const auto open = [&] {
    TestProcess other(world.file, bytes, 3, volatile_durability());
    const auto opened = other.open();
    return opened ? std::string("opened") : std::string(code_name(opened.error().code()));
  };
  REQUIRE(open() == "opened");
  // The immutable head, byte by byte.
  for (std::size_t at = 0; at < 64; ++at) {
    bytes[kTestLogAt + at] ^= std::byte{0x10};
    INFO("byte " << at);
    CHECK(open() == (at >= 8 && at < 12 ? "unsupported" : "corrupt"));
    bytes[kTestLogAt + at] ^= std::byte{0x10};
  }
  REQUIRE(open() == "opened");
}

TEST_CASE("opening_a_log_of_random_bytes_never_leaves_the_payload") {
  const unsigned seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  PretendDurability durability;
  World world(durability);
  for (std::uint64_t i = 0; i < 20; ++i)
    REQUIRE(world.run([&](Transaction& tx) { return tx.write(world.data().cells[i], i); }));
  const std::span<std::byte> bytes = world.bytes.span();
  const std::vector<std::byte> before(bytes.begin(), bytes.end());
  for (int round = 0; round < 300; ++round) {
    std::copy(before.begin(), before.end(), bytes.begin());
    // Live words, marks and records, but not the checksummed head.
    for (int flips = 0; flips < 1 + round % 50; ++flips)
      bytes[kTestLogAt + 64 + random() % (kLog.log_bytes() - 64)] =
          static_cast<std::byte>(random());
    // Another generation; locks of this log may be damaged too.
    TestProcess other(world.file, bytes, 3, durability, 2 + static_cast<std::uint64_t>(round));
    const auto opened = other.open();
    if (!opened) {
      CHECK(opened.error().code() == Code::corrupt);
    }
  }
}

TEST_CASE("an_announced_sequence_is_even_and_another_one_after_each_commit_and_no_other_end") {
  with_each_durability([](World& world) {
    auto& sequence = *reinterpret_cast<SharedWord<std::uint64_t>*>(&world.data().cells[0]);
    const auto seen = [&] { return sequence.load(std::memory_order_relaxed); };
    REQUIRE(world.run([&](Transaction& tx) -> Result<void> {
      STRATA_TRY(tx.announce(sequence));
      STRATA_TRY(tx.write(world.data().cells[1], 5));
      STRATA_TRY(tx.announce(sequence));
      return tx.write(world.data().cells[2], 6);
    }));
    CHECK(seen() == 2);
    CHECK(world.data().cells[2] == 6);
    const auto failed = world.run([&](Transaction& tx) -> Result<void> {
      STRATA_TRY(tx.announce(sequence));
      return fail(Code::failed_precondition, "no");
    });
    CHECK(!failed);
    CHECK(seen() == 2);
    // One that somebody left odd becomes even.
    sequence.store(7, std::memory_order_relaxed);
    REQUIRE(world.run([&](Transaction& tx) { return tx.announce(sequence); }));
    CHECK(seen() == 8);
    REQUIRE(world.me->log().checkpoint());
    // Where the log is filled to its last word, there is still room for the end of the sequence.
    for (std::uint64_t rest = 0; rest < 64; rest += 8) {
      const std::uint64_t before = seen();
      int fitted = 0;
      const auto done = world.run([&](Transaction& tx) -> Result<void> {
        STRATA_TRY(tx.announce(sequence));
        std::array<std::uint64_t, 64> many{};
        STRATA_TRY(tx.write_bytes(world.data().large.data(), many.data(), 512 - rest));
        while (tx.write_bytes(world.data().cells.data() + 8 + fitted % 100, many.data(),
                              8 * static_cast<std::uint64_t>(1 + fitted % 7)))
          ++fitted;
        return {};
      });
      REQUIRE(!done);
      CHECK(done.error().code() == Code::exhausted);
      CHECK(seen() == before);
      // As many as have fitted do commit.
      REQUIRE(world.run([&](Transaction& tx) -> Result<void> {
        STRATA_TRY(tx.announce(sequence));
        std::array<std::uint64_t, 64> many{};
        STRATA_TRY(tx.write_bytes(world.data().large.data(), many.data(), 512 - rest));
        for (int i = 0; i < fitted; ++i)
          STRATA_TRY(tx.write_bytes(world.data().cells.data() + 8 + i % 100, many.data(),
                                    8 * static_cast<std::uint64_t>(1 + i % 7)));
        return {};
      }));
      CHECK(seen() == before + 2);
      REQUIRE(world.me->log().checkpoint());
    }
    CHECK(world.is_whole());
  });
}
