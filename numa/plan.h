// A Plan says which nodes a segment's pages go to, how many on each, and why: a Placement
// (what the user asked for) applied to a Topology (what there is).
//   Threads:  a value; make_plan() is a pure function.
//   Errors:   invalid_argument for a node that does not exist, naming those that do;
//             permission_denied for one outside of this process's cpuset;
//             not_found for an unknown PCI device; exhausted where a node that must be used has
//             too little free memory, with needed and free bytes and a remedy; unsupported
//             where a strict plan rests on a fact that the platform does not tell.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "numa/topology.h"
#include "strata/base/result.h"
#include "strata/segment/options.h"
#include "strata/segment/placement_report.h"

namespace strata::inline v0_1 {

// A node that was passed over, or that takes what another cannot.
struct Fallback {
  int node = 0;
  std::string reason;
};

struct Plan {
  enum class Mode : std::uint8_t {
    local,       // no binding: the kernel takes the node of the thread that touches first
    bind,        // nodes[0] and no other
    preferred,   // expected[i] in this order; the kernel goes elsewhere where one is full
    interleave,  // page by page over nodes
    weighted,    // stripes of weights[i] units on nodes[i]
    split,       // one part on each of nodes
  };
  Mode mode = Mode::local;
  std::vector<int> nodes;
  std::vector<std::uint32_t> weights;  // as nodes, for Mode::weighted
  std::uint64_t payload_bytes = 0;
  std::uint64_t page_bytes = 4096;  // that placement steps by
  PageSize page_size = PageSize::base;
  bool is_strict = false;
  std::vector<NodePages> expected;          // empty where the node is not known before
  std::vector<std::vector<int>> near_cpus;  // as nodes: where to touch from
  // Nodes that the plan does not name exist; also forbidden ones, where the policy still binds
  // processes that may use them.
  bool has_other_nodes = false;
  std::vector<std::string> reasons;  // for people, most important first
  std::vector<Fallback> fallbacks;

  std::string mode_name() const;
  // Whether the kernel could put a page elsewhere than on the one node that is meant: interleaving
  // over every node there is leaves no other node, and still has to be asked for.
  bool has_choice() const { return has_other_nodes || nodes.size() > 1; }
};

// `local_cpu` is where the creating thread runs (Os::current_cpu()); without it a local plan
// leaves the choice to the kernel.
Result<Plan> make_plan(const Topology& topology, const Placement& placement,
                       std::uint64_t payload_bytes, PageSize page_size,
                       std::optional<int> local_cpu = {});

// Whether make_plan() needs to know the machine. A local placement that is not strict can use
// local_plan() and save the milliseconds of reading it.
bool needs_topology(const Placement& placement);
Plan local_plan(std::uint64_t payload_bytes, PageSize page_size);

// A range of the payload that goes to one node.
struct NodeExtent {
  std::uint64_t offset_bytes = 0;
  std::uint64_t bytes = 0;
  int node = 0;
  bool operator==(const NodeExtent&) const = default;
};

// Most stripes that a weighted plan is cut into: each is a policy range in the kernel, and a
// mapping may have 65,530 of them in all. The stripe unit grows with the segment instead:
// 1 GiB at weights 3 and 1 goes in stripes of 3 and 1 MiB.
inline constexpr std::uint64_t kMaxStripes = 1024;

// The parts of a split plan are multiples of this.
inline constexpr std::uint64_t kSplitUnitBytes = 64 * 1024;

// The ranges of a weighted, split or preferred plan, in order; empty for the other modes, whose
// pages the kernel deals out.
std::vector<NodeExtent> extents(const Plan& plan);

}  // namespace strata::inline v0_1
