// The bank on a shadow image: no crash image of the right bank is wrong, and each planted bug that
// a power failure could bring to light is found in one.
#include "tests/vm/shadow_image.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "tests/catch.h"
#include "tests/vm/bank.h"

namespace strata::inline v0_1::test {
namespace {

constexpr int kTransfers = 120;
constexpr int kSeeds = 5;

// Memory as a medium on which everything is safe at once: a crash image during its recovery.
class ImageMedium : public Medium {
 public:
  explicit ImageMedium(std::vector<std::byte>& image) : image_(image) {}
  std::byte* bytes() override { return image_.data(); }
  void flush(const void*, size_t) override {}
  void drain() override {}

 private:
  std::vector<std::byte>& image_;
};

struct Outcome {
  size_t images = 0;
  std::vector<std::string> failures;
};

// The bank's recovery on a crash image, then the oracle: every promised transfer is there and
// every balance fits.
std::string verdict(std::vector<std::byte>& image, const uint64_t* promised) {
  ImageMedium medium(image);
  Bank bank(medium);
  bank.recover();
  for (int process = 0; process < kBankProcesses; ++process) {
    if (bank.done(process) < promised[process]) {
      return "process " + std::to_string(process) + " was promised " +
             std::to_string(promised[process]) + " transfers, " +
             std::to_string(bank.done(process)) + " are there";
    }
  }
  return bank.check();
}

Outcome run_bank(Plant plant, unsigned evict_per_mille, uint64_t seed) {
  uint64_t promised[kBankProcesses] = {};
  ShadowImage shadow(sizeof(BankLayout),
                     [&](std::vector<std::byte>& image) { return verdict(image, promised); },
                     {.evict_per_mille = evict_per_mille, .seed = seed});
  Bank bank(shadow, plant);
  bank.create(seed);
  shadow.start_checking();
  std::mt19937_64 random(seed);
  for (int i = 0; i < kTransfers; ++i) {
    const int process = static_cast<int>(random() % kBankProcesses);
    bank.transfer(process, [&](uint64_t number) { promised[process] = number; });
  }
  return {shadow.images_checked(), shadow.failures()};
}

uint64_t first_seed() {
  const char* given = std::getenv("STRATA_SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device()();
  std::printf("STRATA_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

// How many of the seeds give at least one wrong image.
int seeds_that_find(Plant plant, unsigned evict_per_mille) {
  const uint64_t first = first_seed();
  int found = 0;
  for (uint64_t seed = first; seed < first + kSeeds; ++seed) {
    found += run_bank(plant, evict_per_mille, seed).failures.empty() ? 0 : 1;
  }
  return found;
}

TEST_CASE("no_crash_image_of_the_right_bank_is_wrong") {
  const uint64_t first = first_seed();
  size_t images = 0;
  for (unsigned evict_per_mille : {0u, 300u}) {
    for (uint64_t seed = first; seed < first + kSeeds; ++seed) {
      const Outcome outcome = run_bank(Plant::kNone, evict_per_mille, seed);
      INFO("evict " << evict_per_mille << " seed " << seed);
      CHECK(outcome.failures == std::vector<std::string>{});
      images += outcome.images;
    }
  }
  std::printf("verified: %zu crash images\n", images);
}

TEST_CASE("a_missing_flush_is_found") { CHECK(seeds_that_find(Plant::kMissingFlush, 0) == kSeeds); }

TEST_CASE("an_acknowledgement_before_the_drain_is_found") {
  CHECK(seeds_that_find(Plant::kEarlyAcknowledgement, 0) == kSeeds);
}

TEST_CASE("a_range_missing_from_the_log_is_found") {
  CHECK(seeds_that_find(Plant::kMissingSnapshot, 300) == kSeeds);
}

TEST_CASE("a_wrong_order_is_found_only_with_evicted_lines") {
  CHECK(seeds_that_find(Plant::kWrongOrder, 0) == 0);
  CHECK(seeds_that_find(Plant::kWrongOrder, 300) == kSeeds);
}

}  // namespace
}  // namespace strata::inline v0_1::test
