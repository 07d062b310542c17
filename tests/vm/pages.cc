#include "tests/vm/pages.h"

#include <numa.h>
#include <numaif.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace strata::inline v0_1::test {
namespace {

// A limit on one call, so that a large range does not hold the address space's lock for long.
constexpr size_t kPagesPerCall = 512;

}  // namespace

NodeHistogram nodes_of_pages(const void* start, size_t bytes, size_t page_bytes) {
  NodeHistogram histogram;
  const char* address = static_cast<const char*>(start);
  const size_t page_count = (bytes + page_bytes - 1) / page_bytes;
  for (size_t first = 0; first < page_count; first += kPagesPerCall) {
    const size_t count = std::min(kPagesPerCall, page_count - first);
    std::vector<void*> pages(count);
    std::vector<int> nodes(count, kNotPresent);
    for (size_t i = 0; i < count; ++i) {
      pages[i] = const_cast<char*>(address + (first + i) * page_bytes);
    }
    // Without target nodes move_pages moves nothing: it tells.
    if (move_pages(0, count, pages.data(), nullptr, nodes.data(), 0) != 0) {
      std::printf("move_pages: %s\n", std::strerror(errno));
      return {};
    }
    for (int node : nodes)
      ++histogram[node >= 0 ? node : kNotPresent];
  }
  return histogram;
}

std::string to_string(const NodeHistogram& histogram) {
  std::string text;
  for (const auto& [node, count] : histogram) {
    if (!text.empty()) text += ", ";
    text += node == kNotPresent ? "nowhere" : "node " + std::to_string(node);
    text += ": " + std::to_string(count) + " pages";
  }
  return text.empty() ? "no answer" : text;
}

bool all_pages_on(int node, const void* start, size_t bytes, size_t page_bytes) {
  const NodeHistogram found = nodes_of_pages(start, bytes, page_bytes);
  const NodeHistogram wanted = {{node, (bytes + page_bytes - 1) / page_bytes}};
  if (found != wanted) {
    std::printf("wanted %s, found %s\n", to_string(wanted).c_str(), to_string(found).c_str());
    return false;
  }
  count_verified_placements(wanted.at(node));
  return true;
}

void count_verified_placements(size_t pages) {
  std::printf("verified: %zu placements\n", pages);
  std::fflush(stdout);
}

bool run_on_node(int node) {
  bitmask* cpus = numa_allocate_cpumask();
  const bool any = numa_node_to_cpus(node, cpus) == 0 && numa_bitmask_weight(cpus) > 0 &&
                   numa_sched_setaffinity(0, cpus) == 0;
  numa_free_cpumask(cpus);
  return any;
}

}  // namespace strata::inline v0_1::test
