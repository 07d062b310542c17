// Power failures of a heap's own operations in a pool, without transactions: allocate_to and
// free_from, make and destroy, blocks of all sizes and tables of names that grow. At every drain
// the image holds what had been done, or that and the operation under way; every block of it is
// accounted for; and the next start can go on.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <random>
#include <set>

#include "pmem/shadow_testing.h"
#include "strata/heap/heap.h"
#include "tests/catch.h"
#include "tests/verified.h"

using namespace strata;
using strata::test::ShadowedPool;

namespace {

constexpr std::uint64_t kHolders = 12;
constexpr std::uint64_t kNames = 60;
constexpr int kOperations = 60;
// Each starts with how long it is; every byte behind that is the same.
constexpr std::uint64_t kSizes[] = {40, 700, KiB(5), KiB(40), KiB(100), KiB(600)};

struct Holders {
  std::array<Offset<std::byte>, kHolders> at{};
};

struct Named {
  std::uint64_t value = 0;
};

std::string name_of(std::uint64_t number) { return "object " + std::to_string(number); }

// What stands in the heap: the letter of each holder's block (0: none), the value of each name.
struct Model {
  std::array<std::uint8_t, kHolders> letters{};
  std::map<std::uint64_t, std::uint64_t> names;
  bool operator==(const Model&) const = default;
};

class Worker {
 public:
  Worker(Segment& segment, Heap& heap, std::uint64_t seed)
      : segment_(segment), heap_(heap), random_(static_cast<std::mt19937::result_type>(seed)) {}

  Result<void> prepare() {
    STRATA_ASSIGN(holders_, heap_.make<Holders>("holders"));
    return {};
  }

  // `now` is what has been done, `next` what will have been.
  Model now, next;

  Result<void> step() {
    next = now;
    if (random_() % 2 == 0) {
      STRATA_TRY(change_holder(random_() % kHolders));
    } else {
      STRATA_TRY(change_name(random_() % kNames));
    }
    now = next;
    return {};
  }

 private:
  Result<void> change_holder(std::uint64_t index) {
    Offset<std::byte>& holder = holders_->at[index];
    if (holder) {
      next.letters[index] = 0;
      return heap_.free_from(holder);
    }
    // It has its block before the block has its bytes.
    const std::uint64_t bytes = kSizes[random_() % std::size(kSizes)];
    const auto letter = static_cast<std::uint8_t>(1 + random_() % 255);
    next.letters[index] = letter;
    STRATA_TRY(heap_.allocate_to(holder, bytes));
    std::byte* const block = heap_.get(holder, bytes);
    std::memset(block, letter, bytes);
    std::memcpy(block, &bytes, sizeof bytes);
    return segment_.durability().persist(block, bytes);
  }

  Result<void> change_name(std::uint64_t number) {
    if (next.names.erase(number) != 0) return heap_.destroy<Named>(name_of(number));
    const std::uint64_t value = random_();
    next.names[number] = value;
    STRATA_TRY(heap_.make<Named>(name_of(number), value));
    return {};
  }

  Segment& segment_;
  Heap& heap_;
  std::mt19937 random_;
  Holders* holders_ = nullptr;
};

// The letter of the block in a holder; 0: it is none that a finished operation leaves.
std::uint8_t letter_of(const Heap& heap, Offset<std::byte> block) {
  std::uint64_t bytes = 0;
  std::memcpy(&bytes, heap.get(block, sizeof bytes), sizeof bytes);
  const std::byte* const all = heap.get(block, bytes);
  if (all == nullptr || bytes < kSizes[0]) return 0;
  const std::span<const std::byte> letters(all + sizeof bytes, bytes - sizeof bytes);
  const bool is_whole = std::memcmp(letters.data(), letters.data() + 1, letters.size() - 1) == 0;
  return is_whole ? std::to_integer<std::uint8_t>(letters.front()) : 0;
}

Model read(const Heap& heap, const Holders& holders, const Worker& worker) {
  Model found;
  for (std::uint64_t i = 0; i < kHolders; ++i) {
    const std::uint8_t now = worker.now.letters[i], next = worker.next.letters[i];
    // Of a block that is being made the bytes may not be there yet, but others.
    if (holders.at[i]) found.letters[i] = now == 0 ? next : letter_of(heap, holders.at[i]);
  }
  for (std::uint64_t number = 0; number < kNames; ++number)
    if (const auto named = heap.find<Named>(name_of(number))) found.names[number] = (*named)->value;
  return found;
}

std::string difference(const Model& found, const Model& wanted) {
  std::string text;
  for (std::uint64_t i = 0; i < kHolders; ++i) {
    if (found.letters[i] == wanted.letters[i]) continue;
    text += fmt::format(" block {}: {} for {}", i, found.letters[i], wanted.letters[i]);
  }
  for (std::uint64_t number = 0; number < kNames; ++number) {
    const auto there = found.names.find(number), want = wanted.names.find(number);
    const bool is_there = there != found.names.end(), is_wanted = want != wanted.names.end();
    if (is_there != is_wanted) text += fmt::format(" name {}: {}", number, is_there);
    if (is_there && is_wanted && there->second != want->second)
      text += fmt::format(" name {}: {:x} for {:x}", number, there->second, want->second);
  }
  return text;
}

// Opens the segment as the next start would. What is wrong, or nothing.
std::string verdict(Os& os, const SegmentUri& uri, const Worker& worker) {
  PmemBackend backend(os);
  auto segment = backend.attach(uri, {});
  if (!segment) return segment.error().to_string();
  auto heap = Heap::open(*segment);
  if (!heap) return heap.error().to_string();
  const auto before = heap->check();
  if (!before) return before.error().to_string();
  if (!before->is_consistent()) return "at open: " + before->to_string();
  const auto holders = heap->find<Holders>("holders");
  if (!holders) return holders.error().to_string();
  const Model found = read(*heap, **holders, worker);
  if (found != worker.now && found != worker.next) {
    return "against the old state:" + difference(found, worker.now) +
           "; against the new one:" + difference(found, worker.next);
  }
  // The next start goes on, which repairs what was left to be repaired.
  if (const auto made = heap->make<Named>("after", 1U); !made) return made.error().to_string();
  if (const auto recovered = heap->recover(); !recovered) return recovered.error().to_string();
  const auto after = heap->check();
  if (!after) return after.error().to_string();
  if (!after->is_clean()) return "after recovery: " + after->to_string();
  // The table of names, the holders, the new name, and what was found.
  const auto held = kHolders - std::count(found.letters.begin(), found.letters.end(), 0);
  const std::uint64_t wanted = 3 + static_cast<std::uint64_t>(held) + found.names.size();
  if (after->allocated_blocks != wanted || heap->name_count() != 2 + found.names.size()) {
    return std::to_string(wanted) + " blocks are accounted for: " + after->to_string();
  }
  for (Offset<std::byte>& holder : (*holders)->at) {
    if (!holder) continue;
    if (const auto freed = heap->free_from(holder); !freed) return freed.error().to_string();
  }
  for (const auto& [number, value] : found.names) {
    if (const auto gone = heap->destroy<Named>(name_of(number)); !gone)
      return gone.error().to_string();
  }
  return {};
}

ShadowedPool::Outcome run(const ShadowOptions& options) {
  ShadowedPool pool(MiB(6), options);
  Segment segment = pool.attach();
  Heap heap = Heap::create(segment).value();
  Worker worker(segment, heap, options.seed);
  REQUIRE(worker.prepare());
  pool.watch([&](Os& os, const SegmentUri& image) { return verdict(os, image, worker); });
  for (int i = 0; i < kOperations; ++i) {
    const auto done = worker.step();
    INFO((done ? "" : done.error().to_string()));
    REQUIRE(done);
  }
  return pool.finish();
}

}  // namespace

TEST_CASE("every_crash_image_of_a_heap_in_a_pool_holds_what_was_done_and_no_more") {
  std::uint64_t images = 0;
  for (const std::size_t granularity : {std::size_t{kCacheLineBytes}, std::size_t{kPageBytes}}) {
    for (const unsigned evict : {0U, 300U}) {
      for (std::uint64_t seed = 1; seed <= 2; ++seed) {
        INFO("granularity " << granularity << ", evict " << evict << ", seed " << seed);
        const ShadowedPool::Outcome outcome =
            run({.granularity_bytes = granularity, .evict_per_mille = evict, .seed = seed});
        CHECK(outcome.verdicts == std::set<std::string>());
        images += outcome.images;
      }
    }
  }
  CHECK(images > 1000);
  report_verified(images, "crash images");
}

TEST_CASE("a_flush_that_a_heap_forgets_is_found") {
  for (std::uint64_t seed = 1; seed <= 3; ++seed)
    CHECK(!run({.seed = seed, .lose_flushes_one_in = 4}).verdicts.empty());
}

TEST_CASE("a_drain_that_a_heap_forgets_is_found") {
  for (std::uint64_t seed = 1; seed <= 3; ++seed)
    CHECK(!run({.evict_per_mille = 300, .seed = seed, .lose_drains_one_in = 2}).verdicts.empty());
}
