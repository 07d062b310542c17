// The machine itself, without the library: the guest's kernel really has the nodes, the distances
// and the memory attributes that every other suite in it rests on. When a placement suite fails,
// this one tells whether the rig or the library is at fault.
#include <numa.h>
#include <numaif.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "tests/catch.h"
#include "tests/child.h"
#include "tests/vm/guest_memory.h"
#include "tests/vm/pages.h"

using strata::test::all_pages_on;
using strata::test::child_says;
using strata::test::GuestMemory;
using strata::test::kAllSorts;
using strata::test::MemorySort;
using strata::test::name_of;
using strata::test::nodes_of_pages;
using strata::test::run_on_node;

namespace {

constexpr size_t kRangeBytes = 4u << 20;
constexpr int kNodes[] = {0, 1, 2, 3};  // with memory at boot; 3 has no CPU
constexpr int kTierNode = 3;

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

}  // namespace

TEST_CASE("distances_are_those_of_the_board") {
  const int wanted[4][4] = {{10, 21, 22, 40}, {21, 10, 23, 50}, {22, 23, 10, 60}, {40, 50, 60, 10}};
  for (int from : kNodes) {
    for (int to : kNodes)
      CHECK(numa_distance(from, to) == wanted[from][to]);
  }
}

TEST_CASE("the_tier_node_has_memory_and_no_cpu") {
  CHECK(first_line("/sys/devices/system/node/has_cpu") == "0-2");
  CHECK(numa_node_size64(kTierNode, nullptr) > 0);
  CHECK_FALSE(run_on_node(kTierNode));
}

TEST_CASE("memory_attributes_are_those_of_the_board") {
  const struct {
    int node;
    const char *latency_ns, *bandwidth_mib_per_s;
  } wanted[] = {{0, "110", "20480"}, {1, "120", "40960"}, {2, "100", "30720"}, {3, "400", "10240"}};
  for (const auto& row : wanted) {
    const std::string directory =
        "/sys/devices/system/node/node" + std::to_string(row.node) + "/access0/initiators/";
    CHECK(first_line(directory + "read_latency") == row.latency_ns);
    CHECK(first_line(directory + "read_bandwidth") == row.bandwidth_mib_per_s);
  }
}

TEST_CASE("a_pci_device_hangs_at_node_1") {
  CHECK(first_line("/sys/bus/pci/devices/0000:21:00.0/numa_node") == "1");
}

TEST_CASE("memory_of_every_sort_lies_where_it_was_bound") {
  for (MemorySort sort : kAllSorts) {
    for (int node : kNodes) {
      INFO(name_of(sort) << " on node " << node);
      GuestMemory memory(sort, kRangeBytes);
      REQUIRE(memory.valid());
      REQUIRE(memory.bind_to(node));
      memory.touch();
      CHECK(all_pages_on(node, memory.start(), memory.bytes()));
    }
  }
}

TEST_CASE("first_touch_follows_the_cpu") {
  for (int node : {0, 1, 2}) {
    CHECK(child_says([&] {
      GuestMemory memory(MemorySort::kAnonymous, kRangeBytes);
      if (!run_on_node(node)) return false;
      memory.touch();
      return all_pages_on(node, memory.start(), memory.bytes());
    }));
  }
}

TEST_CASE("a_shared_policy_outlives_the_process_that_set_it") {
  for (MemorySort sort : {MemorySort::kTmpfs, MemorySort::kMemfd}) {
    for (int node : kNodes) {
      INFO(name_of(sort) << " on node " << node);
      GuestMemory memory(sort, kRangeBytes);
      REQUIRE(memory.valid());
      REQUIRE(child_says([&] { return memory.bind_to(node); }));
      REQUIRE(child_says([&] {
        if (!run_on_node(node == 0 ? 1 : 0)) return false;
        memory.touch();
        return true;
      }));
      memory.touch();  // maps here what the other process placed
      CHECK(all_pages_on(node, memory.start(), memory.bytes()));
    }
  }
}

TEST_CASE("hugetlb_memory_has_no_shared_policy") {
  // Linux 6.1 keeps the policy of hugetlb memory in the mapping, not in the file (its
  // numa_memory_policy.rst says so): such memory must be touched by whoever places it.
  GuestMemory memory(MemorySort::kHugetlb, kRangeBytes);
  REQUIRE(memory.valid());
  REQUIRE(child_says([&] { return memory.bind_to(kTierNode); }));
  REQUIRE(child_says([&] {
    if (!run_on_node(1)) return false;
    memory.touch();
    return true;
  }));
  memory.touch();
  CHECK(all_pages_on(1, memory.start(), memory.bytes()));
}

TEST_CASE("private_policy_leaves_no_trace_in_shared_memory") {
  // The counterpart of the case above: without a shared policy the toucher decides.
  GuestMemory memory(MemorySort::kTmpfs, kRangeBytes);
  REQUIRE(memory.valid());
  REQUIRE(child_says([&] {
    if (!run_on_node(2)) return false;
    memory.touch();
    return true;
  }));
  memory.touch();
  CHECK(all_pages_on(2, memory.start(), memory.bytes()));
}

TEST_CASE("interleaving_spreads_pages_evenly") {
  GuestMemory memory(MemorySort::kTmpfs, kRangeBytes);
  REQUIRE(memory.valid());
  const unsigned long mask = 0b1111;
  REQUIRE(mbind(memory.start(), memory.bytes(), MPOL_INTERLEAVE, &mask, 8 * sizeof mask, 0) == 0);
  memory.touch();
  const auto found = nodes_of_pages(memory.start(), memory.bytes());
  INFO(strata::test::to_string(found));
  REQUIRE(found.size() == 4);
  for (const auto& [node, count] : found)
    CHECK(count == kRangeBytes / 4096 / 4);
  strata::test::count_verified_placements(kRangeBytes / 4096);
}

TEST_CASE("pages_migrate_while_they_are_mapped") {
  GuestMemory memory(MemorySort::kTmpfs, kRangeBytes);
  REQUIRE(memory.valid());
  REQUIRE(memory.bind_to(0));
  memory.touch();
  const unsigned long mask = 1ul << kTierNode;
  REQUIRE(mbind(memory.start(), memory.bytes(), MPOL_BIND, &mask, 8 * sizeof mask,
                MPOL_MF_MOVE | MPOL_MF_STRICT) == 0);
  CHECK(all_pages_on(kTierNode, memory.start(), memory.bytes()));
}
