// Where pages really are, asked of the kernel by the tests themselves: a suite never trusts the
// histogram of the library that it checks.
//   Threads:  any.
//   Errors:   a failed kernel call is a failed expectation of the test, with errno.
//   Cost:     one move_pages call per 512 pages; page tables are not changed.
#pragma once

#include <cstddef>
#include <map>
#include <string>

namespace strata::inline v0_1::test {

// Pages per node. Pages that are nowhere yet are counted under kNotPresent.
using NodeHistogram = std::map<int, size_t>;
inline constexpr int kNotPresent = -1;

// Asks for every page of [start, start + bytes). `page_bytes` is the stride: 4096 finds every
// small page of a huge one as well, which all lie on one node.
NodeHistogram nodes_of_pages(const void* start, size_t bytes, size_t page_bytes = 4096);

// "node 1: 64 pages, node 3: 2 pages"
std::string to_string(const NodeHistogram& histogram);

// True when all pages lie on `node`. Says on stdout how many placements were verified; ./check
// adds these up and prints the sum at its end.
bool all_pages_on(int node, const void* start, size_t bytes, size_t page_bytes = 4096);

// For placements that a test compares by itself (interleaving): adds to the same figure.
void count_verified_placements(size_t pages);

// Runs this process on the CPUs of one node from now on. False when the node has none.
bool run_on_node(int node);

}  // namespace strata::inline v0_1::test
