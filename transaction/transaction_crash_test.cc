// Cuts the power at every drain, by images of what would be left, with and without random
// evictions, and recovers each image in a copy. Programs with planted bugs show that it sees them.
#include <random>
#include <set>
#include <thread>

#include "segment/shadow_durability.h"
#include "tests/catch.h"
#include "tests/verified.h"
#include "transaction/transaction_testing.h"

using namespace strata;
using namespace strata::test;

namespace {

constexpr TransactionLogOptions kLog = {.slot_count = 3, .slot_bytes = KiB(4)};
constexpr std::uint64_t kCells = 16;
constexpr std::uint64_t kSum = 1000 * kCells;

std::array<std::uint64_t, 160> filled(std::uint64_t value) {
  std::array<std::uint64_t, 160> all{};
  all.fill(value);
  return all;
}

// Cells keep their sum; cells[64 + t] counts what thread t has committed.
struct Bank {
  Bank(const ShadowOptions& options, std::size_t padding = 0)
      : bytes((test_payload_bytes(kLog) + padding + 4095) / 4096 * 4096) {
    REQUIRE(TransactionLog::format(bytes.span(), kTestLogAt, kLog, volatile_durability()));
    data().cells.fill(0);
    for (std::size_t i = 0; i < kCells; ++i)
      data().cells[i] = 1000;
    shadow.emplace(os, bytes.span(), options);
  }
  TestPayload& data() { return *reinterpret_cast<TestPayload*>(bytes.span().data()); }

  // What must hold after the power has failed here.
  std::string judge(std::span<std::byte> image) {
    PretendDurability durability;
    TestProcess heir(file, image, 100, durability, 1000);
    if (const auto opened = heir.open(); !opened) return opened.error().to_string();
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < kCells; ++i)
      sum += heir.data().cells[i];
    if (sum != kSum) return "the sum is " + std::to_string(sum);
    for (std::size_t t = 0; t < acknowledged.size(); ++t) {
      const std::uint64_t count = heir.data().cells[64 + t];
      if (count < acknowledged[t]) {
        return "thread " + std::to_string(t) + " lost an update: " + std::to_string(count) +
               " of " + std::to_string(acknowledged[t]);
      }
      // The two halves of an in-place update.
      if (heir.data().cells[128 + 16 * t] != heir.data().cells[129 + 16 * t + 8]) {
        return "an update in place is torn";
      }
    }
    const auto& large = heir.data().large;
    if (large != filled(large[0])) return "a large write is torn";
    if (large[0] < acknowledged_large) return "a large write is lost";
    std::string why;
    if (!list_is_whole(heir, why)) return why;
    // Recovery may itself be cut off and done again.
    TestProcess again(file, image, 101, durability, 1001);
    if (const auto opened = again.open(); !opened) return opened.error().to_string();
    return again.data().listed == heir.data().listed ? "" : "a second recovery differs";
  }
  void watch() {
    shadow->watch([this](std::span<std::byte> image) {
      const std::string verdict = judge(image);
      if (!verdict.empty() && verdicts.size() < 10) verdicts.insert(verdict);
      bad_images += !verdict.empty();
    });
  }

  RealOs os;
  LockFile file;
  SharedBytes bytes;
  std::optional<ShadowDurability> shadow;
  std::array<std::atomic<std::uint64_t>, 4> acknowledged{};
  std::atomic<std::uint64_t> acknowledged_large{0};
  std::set<std::string> verdicts;
  std::uint64_t bad_images = 0;
};

struct Bugs {
  bool no_snapshot = false;
  bool change_before_snapshot = false;
  bool plain_store = false;
};

Result<void> transfer(Transaction& tx, TestPayload& data, std::mt19937& random, std::size_t t,
                      const Bugs& bugs) {
  const std::size_t from = random() % kCells, to = random() % kCells;
  const std::uint64_t amount = random() % 50;
  STRATA_TRY(tx.write(data.cells[from], tx.read(data.cells[from]) - amount));
  if (bugs.plain_store) {
    data.cells[to] += amount;  // planted: never logged, never flushed
  } else {
    STRATA_TRY(tx.write(data.cells[to], tx.read(data.cells[to]) + amount));
  }
  if (random() % 4 == 0) {
    std::uint64_t& a = data.cells[128 + 16 * t];
    std::uint64_t& b = data.cells[129 + 16 * t + 8];
    if (bugs.change_before_snapshot) ++a, ++b;  // planted: the wrong order
    if (!bugs.no_snapshot) STRATA_TRY(tx.snapshot(a, b));
    if (!bugs.change_before_snapshot) ++a, ++b;
  }
  switch (random() % 6) {
    case 0:
    case 1: STRATA_TRY(push_node(tx, data)); break;
    case 2:
      if (tx.read(data.list) != 0) STRATA_TRY(pop_node(tx, data));
      break;
    case 3: {
      // Two or three blocks, too large to go into the record.
      for (int i = 0; i < 5 && tx.read(data.listed) < 8; ++i) {
        STRATA_ASSIGN(const auto block, tx.allocate(kBlockBytes));
        std::memset(tx.get(block, kBlockBytes), 1, kBlockBytes);
        *tx.get(Offset<TestNode>{block.bytes}) = {tx.read(data.list), block.bytes ^ 0x5eed};
        STRATA_TRY(tx.write(data.list, block.bytes));
        STRATA_TRY(tx.write(data.listed, tx.read(data.listed) + 1));
      }
      break;
    }
    default: break;
  }
  if (random() % 5 == 0) {
    // A small write over a large one, which reach the medium in different ways.
    const std::uint64_t value = tx.read(data.large[0]) + 1;
    auto all = filled(value);
    all[7] = 0;
    STRATA_TRY(tx.write(data.large, all));
    STRATA_TRY(tx.write(data.large[7], value));
  }
  while (tx.read(data.listed) > 10)
    STRATA_TRY(pop_node(tx, data));
  STRATA_TRY(tx.write(data.cells[64 + t], tx.read(data.cells[64 + t]) + 1));
  if (random() % 10 == 0) return fail(Code::failed_precondition, "changed my mind");
  return {};
}

void work(Bank& bank, TestProcess& process, std::size_t t, unsigned seed, int rounds,
          const Bugs& bugs = {}) {
  std::mt19937 random(seed);
  for (int i = 0; i < rounds; ++i) {
    const auto done = transact(process.log(), process.lock(0), [&](Transaction& tx) {
      return transfer(tx, process.data(), random, t, bugs);
    });
    if (done) {
      bank.acknowledged[t] = bank.data().cells[64 + t];
      bank.acknowledged_large = bank.data().large[0];
    } else {
      STRATA_CHECK(done.error().message() == "changed my mind" ||
                   done.error().code() == Code::exhausted);
    }
    if (i % 16 == 15) STRATA_CHECK(process.log().checkpoint().has_value());
  }
}

unsigned base_seed() {
  const char* given = std::getenv("STRATA_SEED");
  return given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device()();
}

}  // namespace

TEST_CASE("an_image_at_any_drain_recovers_to_all_committed_transactions_and_nothing_else") {
  const unsigned seed = base_seed();
  std::printf("seed %u (STRATA_SEED repeats it)\n", seed);
  std::uint64_t images = 0;
  for (const std::size_t granularity : {64, 4096}) {
    for (const unsigned evict : {0u, 300u}) {
      INFO("granularity " << granularity << ", evict " << evict << " per mille, seed " << seed);
      Bank bank({.granularity_bytes = granularity, .evict_per_mille = evict, .seed = seed});
      TestProcess process(bank.file, bank.bytes.span(), 1, *bank.shadow);
      REQUIRE(process.open());
      bank.watch();
      work(bank, process, 0, seed, 400);
      CHECK(bank.verdicts == std::set<std::string>());
      CHECK(bank.bad_images == 0);
      images += bank.shadow->images();
    }
  }
  report_verified(images, "crash images");
}

TEST_CASE("images_of_concurrent_committers_recover_too") {
  const unsigned seed = base_seed();
  std::uint64_t images = 0;
  for (const std::size_t granularity : {64, 4096}) {
    for (const unsigned evict : {0u, 300u}) {
      INFO("granularity " << granularity << ", evict " << evict << " per mille, seed " << seed);
      Bank bank({.granularity_bytes = granularity, .evict_per_mille = evict, .seed = seed});
      TestProcess process(bank.file, bank.bytes.span(), 1, *bank.shadow);
      REQUIRE(process.open());
      bank.watch();
      std::vector<std::thread> threads;
      for (std::size_t t = 0; t < 3; ++t)
        threads.emplace_back(
            [&, t] { work(bank, process, t, seed + static_cast<unsigned>(t), 100); });
      for (std::thread& thread : threads)
        thread.join();
      CHECK(bank.verdicts == std::set<std::string>());
      CHECK(bank.bad_images == 0);
      images += bank.shadow->images();
    }
  }
  report_verified(images, "crash images");
}

TEST_CASE("work_goes_on_after_each_of_many_power_failures") {
  const unsigned seed = base_seed();
  INFO("seed " << seed);
  Bank bank({.evict_per_mille = 100, .seed = seed});
  std::mt19937 random(seed);
  for (std::uint64_t generation = 1; generation <= 60; ++generation) {
    TestProcess process(bank.file, bank.bytes.span(), 1, *bank.shadow, generation);
    REQUIRE(process.open());
    work(bank, process, 0, static_cast<unsigned>(random()), 1 + static_cast<int>(random() % 40));
    bank.shadow->lose_power();
    SharedBytes copy(bank.bytes.span().size());
    std::memcpy(copy.span().data(), bank.bytes.span().data(), copy.span().size());
    CHECK(bank.judge(copy.span()) == "");
  }
}

TEST_CASE("a_drain_that_fails_leaves_nothing_changed") {
  for (std::uint64_t n = 1; n < 12; ++n) {
    INFO("drain " << n);
    Bank bank({});
    TestProcess process(bank.file, bank.bytes.span(), 1, *bank.shadow);
    REQUIRE(process.open());
    bank.shadow->fail_drain_at(n);
    const auto before = bank.data().cells;
    const auto done =
        transact(process.log(), process.lock(0), [&](Transaction& tx) -> Result<void> {
          STRATA_TRY(tx.snapshot(bank.data().cells[3]));
          bank.data().cells[3] += 5;
          STRATA_TRY(push_node(tx, bank.data()));
          return tx.write(bank.data().cells[4], bank.data().cells[4] - 5);
        });
    bank.watch();
    bank.shadow->examine();
    CHECK(bank.verdicts == std::set<std::string>());
    if (!done) {
      CHECK(bank.data().cells == before);
      CHECK(bank.data().listed == 0);
    }
    CHECK(done.has_value() == (n > 2));
  }
}

// The harness itself: it must see what it is for.
namespace {

std::uint64_t bad_images_of(const ShadowOptions& options, const Bugs& bugs = {}) {
  Bank bank(options);
  TestProcess process(bank.file, bank.bytes.span(), 1, *bank.shadow);
  REQUIRE(process.open());
  bank.watch();
  work(bank, process, 0, static_cast<unsigned>(options.seed), 150, bugs);
  return bank.bad_images;
}

constexpr std::uint64_t kSeeds[] = {1, 2, 3, 4, 5};

}  // namespace

TEST_CASE("the_harness_catches_a_missing_flush") {
  for (const std::uint64_t seed : kSeeds)
    CHECK(bad_images_of({.seed = seed, .lose_flushes_one_in = 4}) > 0);
}

TEST_CASE("the_harness_catches_a_missing_drain") {
  for (const std::uint64_t seed : kSeeds)
    CHECK(bad_images_of({.evict_per_mille = 300, .seed = seed, .lose_drains_one_in = 2}) > 0);
}

TEST_CASE("the_harness_catches_a_missing_snapshot") {
  for (const std::uint64_t seed : kSeeds)
    CHECK(bad_images_of({.evict_per_mille = 300, .seed = seed}, {.no_snapshot = true}) > 0);
}

TEST_CASE("the_harness_catches_changes_before_their_snapshot") {
  for (const std::uint64_t seed : kSeeds) {
    CHECK(bad_images_of({.evict_per_mille = 300, .seed = seed}, {.change_before_snapshot = true}) >
          0);
  }
}

TEST_CASE("the_harness_catches_a_store_beside_the_transaction") {
  for (const std::uint64_t seed : kSeeds)
    CHECK(bad_images_of({.seed = seed}, {.plain_store = true}) > 0);
}
