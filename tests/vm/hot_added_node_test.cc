// A node that came while the machine was running (an NVDIMM turned into memory, as with CXL):
// node 4 of the board. Run after hot_add_node of guest.sh.
#include <numa.h>

#include "tests/catch.h"
#include "tests/vm/guest_memory.h"
#include "tests/vm/pages.h"

namespace strata::test {
namespace {

constexpr int kHotNode = 4;

TEST_CASE("the_hot_added_node_has_memory_and_its_distances") {
  CHECK(numa_node_size64(kHotNode, nullptr) > 0);
  const int wanted[] = {70, 71, 72, 73, 10};
  for (int from = 0; from <= kHotNode; ++from) {
    CHECK(numa_distance(from, kHotNode) == wanted[from]);
  }
}

TEST_CASE("memory_binds_to_the_hot_added_node") {
  for (MemorySort sort : {MemorySort::kAnonymous, MemorySort::kTmpfs, MemorySort::kMemfd}) {
    INFO(name_of(sort));
    GuestMemory memory(sort, 4u << 20);
    REQUIRE(memory.valid());
    REQUIRE(memory.bind_to(kHotNode));
    memory.touch();
    CHECK(all_pages_on(kHotNode, memory.start(), memory.bytes()));
  }
}

}  // namespace
}  // namespace strata::test
