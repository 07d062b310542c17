// Planner is one run of make_plan(). Internal to numa/.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "numa/plan.h"
#include "numa/topology.h"
#include "strata/base/bytes.h"
#include "strata/base/result.h"
#include "strata/segment/options.h"

namespace strata::inline v0_1 {

// The bytes that get memory: whole pages. Transparent huge pages may end in small ones.
inline std::uint64_t placed_bytes(const Plan& plan) {
  return align_up(plan.payload_bytes,
                  plan.page_size == PageSize::thp ? kPageBytes : plan.page_bytes);
}

// One run of make_plan: what it looks at, and the plan that grows.
struct Planner {
  const Topology& topology;
  const Placement& placement;
  std::optional<int> local_node;
  Plan plan;

  std::uint64_t needed_bytes() const { return placed_bytes(plan); }
  void because(std::string reason) { plan.reasons.push_back(std::move(reason)); }

  // What a node can still give: its free memory, or of its hugetlb pool.
  std::optional<std::uint64_t> free_on(int node) const {
    const MemoryNode* facts = topology.find_node(node);
    if (facts == nullptr) return {};
    if (plan.page_size == PageSize::huge_2m || plan.page_size == PageSize::huge_1g) {
      for (const HugePagePool& pool : facts->huge_page_pools) {
        if (pool.page_bytes == plan.page_bytes) return pool.available_pages() * pool.page_bytes;
      }
      if (!topology.is_this_machine()) return {};
      return 0;
    }
    return facts->free_bytes;
  }
  bool fits(int node, std::uint64_t bytes) const {
    const auto free = free_on(node);
    return !free || *free >= bytes;  // what is not known is tried
  }

  Unexpected not_allowed(int node) const;
  Result<void> check_nodes() const;
  Unexpected too_little(int node, std::uint64_t needed) const;
  Result<void> bind_to(int node);
  Result<void> prefer(const std::vector<int>& ranked);
  Result<void> spread(Plan::Mode mode);
  Result<void> plan_local();
  Result<void> plan_near_pci();
  Result<void> plan_tier();
  Result<void> run();
};

}  // namespace strata::inline v0_1
