#include "strata/heap/containers.h"

#include <memory_resource>
#include <string>

#include "heap/heap_testing.h"
#include "strata/heap/memory_resource.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;

namespace {

using Numbers = heap::Vector<std::uint64_t>;
using Words = heap::Map<heap::String, std::uint64_t>;
using Counts = heap::HashMap<std::uint64_t, std::uint64_t>;

heap::String word(Heap& memory, const std::string& text) {
  return heap::String(text.begin(), text.end(), heap::Allocator<char>(memory));
}

}  // namespace

TEST_CASE("another_process_reads_and_changes_vectors_maps_and_hash_maps") {
  HeapHost host(MiB(8));
  Heap memory = Heap::create(host.segment()).value();
  Numbers& numbers =
      *memory.make<Numbers>("numbers", heap::Allocator<std::uint64_t>(memory)).value();
  Words& words = *memory.make<Words>("words", heap::Allocator<char>(memory)).value();
  Counts& counts = *memory.make<Counts>("counts", heap::Allocator<char>(memory)).value();
  for (std::uint64_t i = 0; i < 1000; ++i) {
    numbers.push_back(i);
    words.emplace(word(memory, "a word that is not short " + std::to_string(i)), i);
    counts[i * i] = i;
  }
  const int status = in_child([&] {
    Opened mine(host);
    Numbers& their_numbers = *mine.heap.find<Numbers>("numbers").value();
    Words& their_words = *mine.heap.find<Words>("words").value();
    Counts& their_counts = *mine.heap.find<Counts>("counts").value();
    // Mapped elsewhere, as the parent's mapping is still there.
    STRATA_CHECK(mine.heap.base() != memory.base());
    for (std::uint64_t i = 0; i < 1000; ++i) {
      STRATA_CHECK(their_numbers[i] == i);
      STRATA_CHECK(their_counts.at(i * i) == i);
      const auto found =
          their_words.find(word(mine.heap, "a word that is not short " + std::to_string(i)));
      STRATA_CHECK(found != their_words.end() && found->second == i);
      if (i % 2 == 0) their_words.erase(found);
    }
    for (std::uint64_t i = 1000; i < 5000; ++i) {
      their_numbers.push_back(i);
      their_counts[i * i] = i;
    }
  });
  REQUIRE(status == 0);
  CHECK(numbers.size() == 5000);
  CHECK(numbers.back() == 4999);
  CHECK(words.size() == 500);
  CHECK(counts.size() == 5000);
  CHECK(counts.at(4999 * 4999) == 4999);
  REQUIRE(memory.destroy<Numbers>("numbers"));
  REQUIRE(memory.destroy<Words>("words"));
  REQUIRE(memory.destroy<Counts>("counts"));
  const HeapReport report = memory.check().value();
  INFO(report.to_string());
  CHECK(report.allocated_blocks == 1);  // the table of names
  CHECK(report.is_consistent());
}

TEST_CASE("a_container_that_finds_no_memory_throws_bad_alloc_and_stays_as_it_was") {
  HeapHost host(MiB(1));
  Heap memory = Heap::create(host.segment()).value();
  Numbers& numbers =
      *memory.make<Numbers>("numbers", heap::Allocator<std::uint64_t>(memory)).value();
  numbers.assign(100, 7);
  CHECK_THROWS_AS(numbers.resize(MiB(1)), std::bad_alloc);
  CHECK(numbers.size() == 100);
  CHECK(numbers[99] == 7);
  CHECK(memory.check().value().is_consistent());
}

TEST_CASE("a_constructor_that_throws_leaves_neither_name_nor_memory") {
  struct Refuses {
    Refuses() { throw 42; }
  };
  HeapHost host;
  Heap memory = Heap::create(host.segment()).value();
  CHECK_THROWS_AS((void)memory.make<Refuses>("refuses"), int);
  CHECK(memory.find<Refuses>("refuses").error().code() == Code::not_found);
  CHECK(memory.check().value().allocated_blocks == 0);
  CHECK(memory.make<int>("after", 1));
}

TEST_CASE("pmr_containers_take_their_memory_from_the_heap") {
  HeapHost host;
  Heap memory = Heap::create(host.segment()).value();
  heap::HeapResource resource(memory);
  {
    std::pmr::vector<std::pmr::string> texts(&resource);
    for (int i = 0; i < 100; ++i)
      texts.emplace_back("a text that is too long to stand in the string itself");
    CHECK(memory.check().value().allocated_blocks == 101);
    const auto* const first = reinterpret_cast<const std::byte*>(texts.front().data());
    CHECK(first > memory.base());
    CHECK(first < memory.base() + MiB(4));
  }
  CHECK(memory.check().value().allocated_blocks == 0);
  heap::HeapResource same(memory);
  CHECK(resource == same);
  CHECK_FALSE(resource == *std::pmr::new_delete_resource());
}
