// The bytes of a heap, held against a committed file; docs/format/heap.md is the text of the same
// contract. What the file holds, one after the other: the identity; the words of the names; the
// descriptor of a span with free and allocated blocks, some freed by another thread than its owner;
// the cells and the record of one name; where the blocks of every class stand.
#include <cstring>
#include <vector>

#include "heap/heap_core.h"
#include "heap/heap_testing.h"
#include "tests/catch.h"
#include "tests/format/golden.h"

using namespace strata;
using namespace strata::test;
using namespace strata::heap_layout;

namespace {

// A name of its own for the type, which no compiler chooses.
struct Answer {
  std::uint64_t value;
};

class Golden {
 public:
  void add(const void* from, std::size_t count) {
    const auto* const first = static_cast<const std::byte*>(from);
    bytes_.insert(bytes_.end(), first, first + count);
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace

template <>
struct strata::TypeTraits<Answer> {
  static constexpr std::string_view name = "test::Answer";
  static constexpr std::uint64_t version = 3;
};

TEST_CASE("a_heap_is_the_committed_golden_file") {
  HeapHost host(MiB(2));
  Heap heap =
      Heap::create(host.segment(), {.region_bytes = 0, .nodes = {{.first_bytes = 0, .node = 3}}})
          .value();
  const HeapHeader& header = heap.core().header();
  Golden golden;
  golden.add(&header.identity, sizeof(HeapIdentity));

  // Forty blocks of 64 bytes: the owner frees three, another opener of the heap two.
  std::vector<Offset<std::byte>> blocks;
  for (int i = 0; i < 40; ++i)
    blocks.push_back(heap.allocate(64).value());
  for (const int i : {1, 2, 35})
    REQUIRE(heap.free(blocks[static_cast<std::size_t>(i)]));
  {
    Opened other(host);
    for (const int i : {7, 39})
      REQUIRE(other.heap.free(blocks[static_cast<std::size_t>(i)]));
  }
  REQUIRE(heap.make<Answer>("the answer", Answer{42}));
  heap.release_thread_cache();
  REQUIRE(heap.check().value().is_clean());

  const std::uint64_t unit = blocks[0].bytes / kUnitBytes;
  golden.add(heap.base() + RegionLayout::kDescriptorsAt + unit * sizeof(Descriptor),
             sizeof(Descriptor));
  const std::uint64_t root = header.names.root.load();
  golden.add(&header.names.root, 5 * sizeof(Word));
  const auto* const cells =
      reinterpret_cast<const NameCell*>(heap.base() + (root & 0xFFFF'FFFF'FFC0));
  golden.add(cells, sizeof(NameCell) << (root & 63));
  const ObjectInfo info = heap.stat("the answer").value();
  const std::uint64_t record = info.offset_bytes / 64 * 64;
  golden.add(heap.base() + record, 128);
  for (const ClassInfo& info_of_class : kClasses) {
    golden.add(&info_of_class.block_bytes, 4);
    golden.add(&info_of_class.units, 4);
    golden.add(&info_of_class.blocks, 4);
    golden.add(&info_of_class.first_block, 4);
  }
  check_golden(golden.bytes(), "heap_v2.bin");
}
