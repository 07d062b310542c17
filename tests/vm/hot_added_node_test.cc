// A node that came while the machine was running (an NVDIMM turned into memory, as with CXL):
// node 4 of the board.
#include <cstdlib>
#include <fstream>
#include <string>

#include "os/os.h"
#include "strata/strata.h"
#include "tests/catch.h"
#include "tests/vm/guest_memory.h"
#include "tests/vm/pages.h"

namespace strata::inline v0_1::test {
namespace {

constexpr int kHotNode = 4;
constexpr const char* kUri = "shm:vm_hot";

CreateOptions strictly_on(int node) {
  CreateOptions options;
  options.payload_bytes = 8u << 20;
  options.placement = on_node(node);
  options.placement.is_strict = true;
  return options;
}

// The first case, as it adds the node that the others use.
TEST_CASE("a_running_process_places_on_a_node_that_was_added_meanwhile") {
  RealOs os;
  Catalog catalog = make_catalog(os);
  REQUIRE(catalog.create(kUri, strictly_on(3)).has_value());  // it knows the machine now
  REQUIRE(catalog.remove(kUri).has_value());
  const auto too_early = catalog.create(kUri, strictly_on(kHotNode));
  REQUIRE_FALSE(too_early.has_value());
  CHECK(too_early.error().code() == Code::invalid_argument);

  REQUIRE(std::system("sh -c '. /guest.sh && hot_add_node 1'") == 0);
  const auto made = catalog.create(kUri, strictly_on(kHotNode));
  INFO((made ? "" : made.error().message()));
  REQUIRE(made.has_value());
  const auto bytes = made->host_bytes().value();
  CHECK(all_pages_on(kHotNode, bytes.data(), bytes.size()));
  CHECK(catalog.remove(kUri, {.even_if_attached = true}).has_value());
}

TEST_CASE("the_kernel_knows_the_hot_added_node_and_its_distances") {
  // From sysfs: libnuma reads the nodes once, when it is loaded, and is wrong from then on.
  std::ifstream distances("/sys/devices/system/node/node4/distance");
  for (int wanted : {70, 71, 72, 73, 10}) {
    int distance = 0;
    distances >> distance;
    CHECK(distance == wanted);
  }
  std::ifstream with_memory("/sys/devices/system/node/has_memory");
  std::string list;
  CHECK((with_memory >> list && list == "0-4"));
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
}  // namespace strata::inline v0_1::test
