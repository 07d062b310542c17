#include "strata/heap/heap.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <set>
#include <thread>

#include "heap/heap_testing.h"
#include "tests/catch.h"
#include "transaction/block_actions.h"

using namespace strata;
using namespace strata::test;

namespace {

std::string report_of(const Heap& heap) { return heap.check().value().to_string(); }

}  // namespace

TEST_CASE("a_block_is_allocated_used_and_freed") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  const Offset<std::byte> block = heap.allocate(100).value();
  CHECK(block.bytes % 16 == 0);
  CHECK(heap.usable_bytes(block).value() == 112);
  std::memset(heap.get(block, 112), 0xAB, 112);
  CHECK(heap.check().value().allocated_blocks == 1);
  REQUIRE(heap.free(block));
  INFO(report_of(heap));
  CHECK(heap.check().value().allocated_blocks == 0);
  CHECK(heap.check().value().is_clean());
}

TEST_CASE("every_size_and_alignment_gives_disjoint_aligned_blocks_with_little_waste") {
  HeapHost host(MiB(256));
  Heap heap = Heap::create(host.segment()).value();
  std::vector<std::pair<std::uint64_t, std::uint64_t>> taken;
  std::uint64_t align = 1;
  for (std::uint64_t bytes = 1; bytes < MiB(2); bytes += 1 + bytes / 7) {
    const auto block = heap.allocate(bytes, align).value();
    INFO(bytes << " bytes aligned to " << align);
    CHECK(block.bytes % align == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(heap.base() + block.bytes) % align == 0);
    const std::uint64_t usable = heap.usable_bytes(block).value();
    CHECK(usable >= bytes);
    if (align <= 16 && bytes > 128) CHECK((usable - bytes) * 8 <= usable);
    std::memset(heap.get(block, usable), 0x5A, usable);
    taken.emplace_back(block.bytes, usable);
    align = align == 4096 ? 1 : align * 2;
  }
  std::sort(taken.begin(), taken.end());
  for (std::size_t i = 1; i < taken.size(); ++i)
    CHECK(taken[i - 1].first + taken[i - 1].second <= taken[i].first);
  const HeapReport report = heap.check().value();
  INFO(report.to_string());
  CHECK(report.is_clean());
  CHECK(report.allocated_blocks == taken.size());
  for (const auto& [offset, bytes] : taken)
    REQUIRE(heap.free(Offset<std::byte>{offset}));
  CHECK(heap.check().value().allocated_blocks == 0);
}

TEST_CASE("a_second_free_of_a_block_is_refused") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  for (const std::uint64_t bytes : {std::uint64_t{64}, KiB(100), MiB(1)}) {
    const auto keep = heap.allocate(bytes).value();
    const auto block = heap.allocate(bytes).value();
    REQUIRE(heap.free(block));
    const auto again = heap.free(block);
    REQUIRE(!again);
    INFO(again.error().to_string());
    CHECK((again.error().code() == Code::failed_precondition ||
           again.error().code() == Code::invalid_argument));
    REQUIRE(heap.free(keep));
  }
  CHECK(heap.check().value().is_clean());
}

TEST_CASE("a_foreign_or_misaligned_offset_is_refused_and_changes_nothing") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  const auto block = heap.allocate(64).value();
  for (const std::uint64_t offset :
       {std::uint64_t{0}, std::uint64_t{4096}, block.bytes + 1, block.bytes + 16, block.bytes - 16,
        MiB(3), MiB(4), MiB(5), ~std::uint64_t{0}, ~std::uint64_t{0} - 63}) {
    const auto freed = heap.free(Offset<std::byte>{offset});
    REQUIRE(!freed);
    INFO(freed.error().to_string());
    CHECK(freed.error().code() == Code::invalid_argument);
    CHECK(heap.usable_bytes(Offset<std::byte>{offset}).error().code() == Code::invalid_argument);
  }
  CHECK(heap.check().value().allocated_blocks == 1);
  CHECK(heap.check().value().is_clean());
}

TEST_CASE("an_alignment_that_is_not_a_power_of_two_up_to_4096_is_refused") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  for (const std::uint64_t align : {0, 3, 24, 8192})
    CHECK(heap.allocate(64, align).error().code() == Code::invalid_argument);
}

TEST_CASE("a_full_heap_says_exhausted_and_serves_again_once_something_was_freed") {
  HeapHost host(MiB(2));
  Heap heap = Heap::create(host.segment()).value();
  for (const std::uint64_t bytes :
       {std::uint64_t{16}, std::uint64_t{64}, KiB(3), KiB(40), KiB(700)}) {
    std::vector<Offset<std::byte>> blocks;
    while (true) {
      auto block = heap.allocate(bytes);
      if (!block) {
        CHECK(block.error().code() == Code::exhausted);
        break;
      }
      blocks.push_back(*block);
    }
    INFO(bytes << ": " << blocks.size());
    CHECK(blocks.size() * bytes > MiB(1));
    const HeapReport full = heap.check().value();
    CHECK(full.is_clean());
    CHECK(full.allocated_blocks == blocks.size());
    REQUIRE(heap.free(blocks.back()));
    blocks.back() = heap.allocate(bytes).value();
    for (const auto block : blocks)
      REQUIRE(heap.free(block));
    CHECK(heap.check().value().allocated_blocks == 0);
  }
  INFO(report_of(heap));
  CHECK(heap.check().value().is_clean());
}

TEST_CASE("too_large_an_object_is_exhausted_and_not_a_fault") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  for (const std::uint64_t bytes : {MiB(4), MiB(64), std::uint64_t{1} << 40, ~std::uint64_t{0}})
    CHECK(heap.allocate(bytes).error().code() == Code::exhausted);
}

TEST_CASE("the_heap_grows_with_its_segment_and_other_processes_see_it") {
  HeapHost host(MiB(1), MiB(64));
  Heap heap = Heap::create(host.segment(), {.region_bytes = MiB(16), .nodes = {}}).value();
  Opened other(host);
  std::vector<Offset<std::byte>> blocks;
  for (int i = 0; i < 400; ++i)
    blocks.push_back(heap.allocate(KiB(100)).value());
  CHECK(host.segment().payload_bytes() > MiB(32));
  // The other process frees beyond what it had mapped.
  for (const auto block : blocks)
    REQUIRE(other.heap.free(block));
  const HeapReport report = other.heap.check().value();
  INFO(report.to_string());
  CHECK(report.is_clean());
  CHECK(report.allocated_blocks == 0);
  CHECK(heap.allocate(MiB(15)));
}

TEST_CASE("allocate_to_publishes_in_a_word_of_the_heap_and_free_from_withdraws") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  Offset<std::byte>& root = *heap.root(3);
  for (const std::uint64_t bytes : {std::uint64_t{40}, MiB(1)}) {
    REQUIRE(heap.allocate_to(root, bytes));
    CHECK(root.bytes != 0);
    CHECK(heap.usable_bytes(root).value() >= bytes);
    CHECK(heap.allocate_to(root, 40).error().code() == Code::invalid_argument);
    REQUIRE(heap.free_from(root));
    CHECK(root.bytes == 0);
    CHECK(heap.free_from(root).error().code() == Code::invalid_argument);
  }
  Offset<std::byte> outside;
  CHECK(heap.allocate_to(outside, 40).error().code() == Code::invalid_argument);
  CHECK(heap.check().value().allocated_blocks == 0);
}

TEST_CASE("a_read_only_heap_can_look_but_not_allocate") {
  HeapHost host;
  {
    Heap heap = Heap::create(host.segment()).value();
    REQUIRE(heap.make<int>("answer", 42));
  }
  Segment view = host.attach(Access::read_only);
  Heap heap = Heap::open(view).value();
  CHECK(*heap.find<int>("answer").value() == 42);
  CHECK(heap.check().value().is_clean());
  CHECK(heap.inspect().value().names == 1);
  CHECK(heap.allocate(64).error().code() == Code::failed_precondition);
  CHECK(heap.free(Offset<std::byte>{MiB(1)}).error().code() == Code::failed_precondition);
  CHECK(heap.make<int>("other", 1).error().code() == Code::failed_precondition);
  CHECK(heap.recover().error().code() == Code::failed_precondition);
}

TEST_CASE("a_forked_child_has_to_open_anew") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  const auto block = heap.allocate(64).value();
  const int status = in_child([&] {
    if (heap.allocate(64).has_value()) _exit(1);
    if (heap.free(block).has_value()) _exit(2);
    Opened mine(host);
    if (!mine.heap.free(block)) _exit(3);
  });
  CHECK(status == 0);
  CHECK(heap.check().value().allocated_blocks == 0);
}

TEST_CASE("a_heap_that_is_not_there_not_finished_or_foreign_is_refused") {
  HeapHost host;
  CHECK(Heap::open(host.segment()).error().code() == Code::not_found);
  { CHECK(Heap::create(host.segment())); }
  CHECK(Heap::create(host.segment()).error().code() == Code::already_exists);
  std::uint64_t& state = *reinterpret_cast<std::uint64_t*>(host.bytes() + 1024);
  state = 0;
  CHECK(Heap::open(host.segment()).error().code() == Code::not_ready);
  state = 1;
  host.bytes()[8] = std::byte{9};
  CHECK(Heap::open(host.segment()).error().code() == Code::unsupported);
  host.bytes()[8] = std::byte{2};
  host.bytes()[30] ^= std::byte{1};
  CHECK(Heap::open(host.segment()).error().code() == Code::corrupt);
  host.bytes()[30] ^= std::byte{1};
  CHECK(Heap::open(host.segment()));
  host.bytes()[0] = std::byte{0};
  CHECK(Heap::open(host.segment()).error().code() == Code::corrupt);
}

TEST_CASE("too_small_a_segment_is_refused") {
  HeapHost host(KiB(64));
  const auto heap = Heap::create(host.segment());
  REQUIRE(!heap);
  CHECK(heap.error().code() == Code::invalid_argument);
}

TEST_CASE("threads_allocate_and_free_each_others_blocks") {
  HeapHost host(MiB(32));
  Heap heap = Heap::create(host.segment()).value();
  constexpr int kThreads = 4;
  std::array<std::atomic<std::uint64_t>, 256> exchange{};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(static_cast<unsigned>(t));
      for (int i = 0; i < 20'000; ++i) {
        const std::uint64_t bytes = 8 + random() % (i % 50 == 0 ? 100'000 : 600);
        const auto block = heap.allocate(bytes).value();
        std::memset(heap.get(block, bytes), t, bytes);
        const std::uint64_t old = exchange[random() % exchange.size()].exchange(block.bytes);
        if (old != 0) STRATA_CHECK(heap.free(Offset<std::byte>{old}).has_value());
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  std::uint64_t left = 0;
  for (auto& word : exchange)
    left += word.load() != 0 ? 1 : 0;
  const HeapReport report = heap.check().value();
  INFO(report.to_string());
  CHECK(report.is_clean());
  CHECK(report.allocated_blocks == left);
  CHECK(report.slots == 0);
  for (auto& word : exchange) {
    if (word.load() != 0) REQUIRE(heap.free(Offset<std::byte>{word.load()}));
  }
  CHECK(heap.check().value().allocated_blocks == 0);
}

// Opening recovers before it has a slot: without one it owns nothing, so that somebody else may
// take at any time what it would be giving back.
TEST_CASE("opening_gives_the_empty_spans_of_the_dead_to_others_and_no_units_back") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  CHECK(was_killed(in_child([&] {
    Opened mine(host);
    for (int i = 0; i < 3000; ++i)
      STRATA_CHECK(mine.heap.allocate(64).has_value());
    die();
  })));
  const std::vector<BlockInfo> blocks = heap.blocks().value();
  REQUIRE(blocks.size() == 3000);
  for (const BlockInfo& block : blocks)
    REQUIRE(heap.free(Offset<std::byte>{block.offset_bytes}));
  const std::uint64_t bytes = heap.inspect().value().span_bytes;
  CHECK(bytes >= 3 * KiB(64));
  {
    const Opened other(host);
    CHECK(heap.inspect().value().span_bytes == bytes);
    CHECK(heap.inspect().value().threads == 1);
  }
  CHECK(heap.recover().value().units > 0);
  CHECK(heap.check().value().is_clean());
  CHECK(heap.inspect().value().span_bytes == 0);
}

TEST_CASE("reserved_blocks_are_not_handed_out_and_go_through_the_states_of_a_transaction") {
  HeapHost host;
  Heap heap = Heap::create(host.segment()).value();
  BlockActions& actions = heap.block_actions();
  for (const std::uint64_t bytes : {std::uint64_t{64}, KiB(30), MiB(1)}) {
    const std::uint64_t a = actions.reserve(bytes, 16).value();
    const std::uint64_t b = actions.reserve(bytes, 16).value();
    CHECK(a != b);
    CHECK(actions.state(a).value() == BlockState::free);
    std::set<std::uint64_t> others;
    for (int i = 0; i < (bytes < 100 ? 3000 : 1); ++i)
      others.insert(heap.allocate(bytes).value().bytes);
    CHECK(others.count(a) + others.count(b) == 0);
    CHECK(actions.change(a, BlockState::free, BlockState::tentative).value());
    CHECK_FALSE(actions.change(a, BlockState::free, BlockState::tentative).value());
    actions.cancel(b);
    CHECK(heap.free(Offset<std::byte>{a}).error().code() == Code::failed_precondition);
    CHECK(heap.check().value().unfinished_blocks == 1);
    CHECK(actions.change(a, BlockState::tentative, BlockState::allocated).value());
    CHECK(actions.change(a, BlockState::allocated, BlockState::freeing).value());
    CHECK(heap.free(Offset<std::byte>{a}).error().code() == Code::failed_precondition);
    CHECK(actions.change(a, BlockState::freeing, BlockState::free).value());
    for (const std::uint64_t other : others)
      REQUIRE(heap.free(Offset<std::byte>{other}));
    const HeapReport report = heap.check().value();
    INFO(report.to_string());
    CHECK(report.is_clean());
    CHECK(report.allocated_blocks == 0);
  }
  const std::uint64_t left = actions.reserve(64, 16).value();
  REQUIRE(actions.change(left, BlockState::free, BlockState::tentative).value());
  REQUIRE(actions.release_leftovers());
  CHECK(actions.state(left).value() == BlockState::free);
  CHECK(actions.change(12345, BlockState::free, BlockState::tentative).error().code() ==
        Code::corrupt);
}
