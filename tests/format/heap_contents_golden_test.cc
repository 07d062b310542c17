// Heaps that an earlier program filled, and left in the middle of two transactions; the pages of
// docs/format on heaps, transaction logs and maps are the text of the same contract, and
// golden_heap.h says what is in them.
#include <algorithm>
#include <filesystem>
#include <string>

#include "strata/strata.h"
#include "tests/catch.h"
#include "tests/format/golden_heap.h"
#include "tests/format/golden_segment.h"

using namespace strata;
using namespace strata::golden;

namespace {

constexpr std::uint64_t kPage = kCellsOfPage;
constexpr std::uint32_t kActive = 1, kCommitted = 2;

std::string uri_in_pool(const test::TempDir& folder, const std::string& name) {
  const std::string pool = folder / "golden.pool";
  if (!std::filesystem::exists(pool)) {
    std::filesystem::copy_file("tests/format/pool_v1.pool", pool);
    std::filesystem::permissions(pool, std::filesystem::perms(0600));
  }
  return "pmem:" + pool + "#" + name;
}

struct View {
  explicit View(const Heap& heap)
      : ledger(heap.find<Ledger>("ledger").value()), cells(heap.get(ledger->cells, kCells)) {
    REQUIRE(cells != nullptr);
  }
  Ledger* ledger;
  std::uint64_t* cells;
};

// What the transactions have nothing to do with.
void check_the_rest(Heap& heap) {
  CHECK(heap.find<Answer>("the answer").value()->value == 42);
  CHECK(heap.stat("the answer").value().type == "golden::Answer");
  CHECK(heap.find<RobustMutex>("a lock").value()->report().token == 0);
  CHECK(heap.name_count() == 3);
  const View view(heap);
  for (std::uint64_t i = 0; i < kCells; ++i)
    if (i % kPage != 0) REQUIRE(view.cells[i] == 1000 + i);
}

void check_map(Heap& heap, std::uint64_t keys_beside) {
  Ledger& ledger = *View(heap).ledger;
  // The format's words: buckets, keys, keys and erased buckets.
  const auto word = [&](std::size_t i) {
    return number_at<std::uint64_t>(std::as_bytes(std::span(&ledger.map, 1)), i * 8);
  };
  CHECK(word(1) == 64);
  CHECK(word(2) == kKeys - 1 + keys_beside);
  CHECK(word(3) == kKeys + keys_beside);
  CHECK(heap.transact(ledger.committed, [&](Transaction& tx) -> Result<void> {
    for (std::uint64_t i = 0; i < kKeys; ++i) {
      const auto value = ledger.map.find(tx, "key " + std::to_string(i)).value();
      if (i == kErasedKey) {
        CHECK(!value);
      } else {
        CHECK(value == i * i);
      }
    }
    return {};
  }));
}

bool is_allocated(const Heap& heap, Offset<std::byte> block) {
  const auto blocks = heap.blocks().value();
  return std::any_of(blocks.begin(), blocks.end(),
                     [&](const BlockInfo& info) { return info.offset_bytes == block.bytes; });
}

// Records have a head where they are to survive a power failure.
enum class Medium { memory, pool };

// As the deaths left it, seen by one who may not repair.
void check_is_unfinished(Segment segment, Medium medium) {
  const Heap heap = Heap::open(segment).value();
  const View view(heap);
  CHECK(view.cells[0] == 111);
  CHECK(view.cells[kPage] == 1000 + kPage);
  CHECK(view.cells[2 * kPage] == 999);
  CHECK(view.cells[3 * kPage] == 1000 + 3 * kPage);
  CHECK(view.ledger->old);
  CHECK(!view.ledger->fresh);
  CHECK(view.ledger->committed.report().token != 0);
  CHECK(view.ledger->begun.report().token != 0);

  // The same in the bytes of the log.
  const auto bytes = segment.host_bytes().value();
  const auto log = bytes.subspan(number_at<std::uint64_t>(bytes, 1408));
  CHECK(std::memcmp(log.data(), "STRATLOG", 8) == 0);
  CHECK(number_at<std::uint32_t>(log, 8) == 1);
  CHECK(number_at<std::uint32_t>(log, 12) == 4);
  CHECK(number_at<std::uint64_t>(log, 16) == KiB(64));
  std::uint32_t committed = 0, begun = 0;
  for (std::uint64_t slot = 0; slot < 4; ++slot) {
    const auto head = log.subspan(4096 + 2 * 512 + slot * 256, 256);
    const auto record = log.subspan(8192 + slot * KiB(64) + number_at<std::uint64_t>(head, 24));
    const auto is = [&](const char* kind) {
      return medium == Medium::memory || std::memcmp(record.data(), kind, 4) == 0;
    };
    const std::uint32_t state = number_at<std::uint32_t>(head, 8);
    if (state == kCommitted && is("COMT")) ++committed;
    if (state == kActive && is("PART")) ++begun;
  }
  CHECK(committed == 1);
  CHECK(begun == 1);
}

// All of the one and nothing of the other.
void check_is_recovered(Segment segment) {
  Offset<std::byte> old{};
  {
    Heap heap = Heap::open(segment).value();
    old = View(heap).ledger->old;
    Ledger& ledger = *View(heap).ledger;
    for (RobustMutex* const lock : {&ledger.committed, &ledger.begun})
      REQUIRE(heap.transact(*lock, [](Transaction&) -> Result<void> { return {}; }));
    REQUIRE(heap.recover());
  }
  Heap heap = Heap::open(segment).value();
  const View view(heap);
  CHECK(view.cells[0] == 111);
  CHECK(view.cells[kPage] == 222);
  CHECK(view.cells[2 * kPage] == 1000 + 2 * kPage);
  CHECK(view.cells[3 * kPage] == 1000 + 3 * kPage);
  REQUIRE(view.ledger->fresh);
  CHECK(!view.ledger->old);
  const auto* const fresh =
      reinterpret_cast<const char*>(heap.get(view.ledger->fresh, kFreshBytes));
  CHECK(std::string_view(fresh, kFreshBytes) == std::string(kFreshBytes, 'n'));
  CHECK(is_allocated(heap, view.ledger->fresh));
  CHECK((!old || !is_allocated(heap, old) || old.bytes == view.ledger->fresh.bytes));
  check_the_rest(heap);
  check_map(heap, 1);
  heap.release_thread_cache();
  const HeapReport report = heap.check().value();
  INFO(report.to_string());
  CHECK(report.is_clean());
  CHECK(report.unfinished_blocks == 0);
}

}  // namespace

TEST_CASE("a_heap_of_an_earlier_program_is_read_as_it_was_left") {
  GoldenSegments segments;
  check_is_unfinished(segments.attach("heap_segment_v2.bin", "golden-heap", Access::read_only),
                      Medium::memory);
}

TEST_CASE("transactions_that_an_earlier_program_died_in_are_finished_or_undone") {
  GoldenSegments segments;
  check_is_recovered(segments.attach("heap_segment_v2.bin", "golden-heap"));
}

TEST_CASE("a_heap_in_a_pool_of_an_earlier_program_is_read_as_it_was_left") {
  const test::TempDir folder;
  RealOs os;
  Catalog catalog = make_catalog(os);
  check_is_unfinished(
      catalog.attach(uri_in_pool(folder, "unfinished"), {.access = Access::read_only}).value(),
      Medium::pool);
}

TEST_CASE("the_log_in_a_pool_of_an_earlier_program_is_replayed_as_after_a_power_failure") {
  const test::TempDir folder;
  RealOs os;
  Catalog catalog = make_catalog(os);
  check_is_recovered(catalog.attach(uri_in_pool(folder, "unfinished")).value());
}

TEST_CASE("a_heap_in_a_pool_that_an_earlier_program_closed_is_whole") {
  const test::TempDir folder;
  RealOs os;
  Catalog catalog = make_catalog(os);
  Segment segment = catalog.attach(uri_in_pool(folder, "closed")).value();
  Heap heap = Heap::open(segment).value();
  check_the_rest(heap);
  check_map(heap, 0);
  const View view(heap);
  for (std::uint64_t i = 0; i < kCells; i += kPage)
    CHECK(view.cells[i] == 1000 + i);
  CHECK((is_allocated(heap, view.ledger->old) && !view.ledger->fresh));
  CHECK(heap.check().value().is_clean());
  // And it goes on being used.
  CHECK(heap.transact(view.ledger->begun,
                      [&](Transaction& tx) { return view.ledger->map.set(tx, "of today", 1); }));
  CHECK(heap.check().value().is_clean());
}
