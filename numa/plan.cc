#include "numa/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "numa/planner.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

using Kind = Placement::Kind;
using Mode = Plan::Mode;

}  // namespace

Unexpected Planner::not_allowed(int node) const {
  return fail(Code::permission_denied,
              fmt::format("node {} is not allowed by this cpuset (allowed: {}); name one of these, "
                          "or have cpuset.mems widened",
                          node, topology.node_list()));
}

Result<void> Planner::check_nodes() const {
  if (placement.nodes.empty()) {
    return fail(Code::invalid_argument, placement.to_string() + " names no node");
  }
  std::set<int> seen;
  for (const int node : placement.nodes) {
    if (topology.is_forbidden(node)) return not_allowed(node);
    if (topology.find_node(node) == nullptr) {
      return fail(
          Code::invalid_argument,
          fmt::format("node {} does not exist; there {}: {}", node,
                      topology.nodes().size() == 1 ? "is one" : "are", topology.node_list()));
    }
    if (topology.find_node(node)->memory_bytes == 0) {
      return fail(Code::invalid_argument, fmt::format("node {} has no memory", node));
    }
    if (!seen.insert(node).second) {
      return fail(Code::invalid_argument, fmt::format("node {} is named twice", node));
    }
  }
  return {};
}

Unexpected Planner::too_little(int node, std::uint64_t needed) const {
  const bool is_pool = plan.page_size == PageSize::huge_2m || plan.page_size == PageSize::huge_1g;
  const std::string remedy =
      is_pool ? fmt::format(
                    "reserve more: echo N > /sys/devices/system/node/node{}/hugepages/"
                    "hugepages-{}kB/nr_hugepages",
                    node, plan.page_bytes / 1024)
              : fmt::format(
                    "free memory on that node, ask for less, or let others help: "
                    "preferred:{},… or interleave",
                    node);
  return fail(Code::exhausted,
              fmt::format("node {} needs {} ({} bytes) in {} pages but has {} ({} bytes) free; {}",
                          node, format_bytes(needed), needed, format_bytes(plan.page_bytes),
                          format_bytes(*free_on(node)), *free_on(node), remedy));
}

// All on one node and nowhere else. A bound node that runs full calls the out-of-memory killer,
// so that a plan which cannot fit is refused whether strict or not.
Result<void> Planner::bind_to(int node) {
  if (!fits(node, needed_bytes())) return too_little(node, needed_bytes());
  plan.mode = Mode::bind;
  plan.nodes = {node};
  plan.expected = {{node, needed_bytes() / kPageBytes}};
  return {};
}

// The first node of `ranked` that has the room; where none has, as much as fits on each.
Result<void> Planner::prefer(const std::vector<int>& ranked) {
  plan.mode = Mode::preferred;
  for (const int node : ranked) {
    if (fits(node, needed_bytes())) {
      plan.nodes = {node};
      plan.expected = {{node, needed_bytes() / kPageBytes}};
      break;
    }
    plan.fallbacks.push_back(
        {node, fmt::format("node {} has {} free of {} needed", node, format_bytes(*free_on(node)),
                           format_bytes(needed_bytes()))});
  }
  if (!plan.nodes.empty()) {
    if (!plan.fallbacks.empty()) {
      if (plan.is_strict && placement.kind != Kind::preferred) {
        return too_little(ranked.front(), needed_bytes());
      }
      because(fmt::format("node {} is the next with enough free memory", plan.nodes[0]));
    }
    for (const int node : ranked) {
      if (plan.is_strict) break;
      const bool passed_over = node == plan.nodes[0] ||
                               std::any_of(plan.fallbacks.begin(), plan.fallbacks.end(),
                                           [&](const Fallback& each) { return each.node == node; });
      if (!passed_over) plan.fallbacks.push_back({node, "next in order, should that node fill up"});
    }
    return {};
  }
  std::uint64_t left = needed_bytes();
  for (const int node : ranked) {
    const std::uint64_t free = *free_on(node) / plan.page_bytes * plan.page_bytes;
    const std::uint64_t share = std::min(free, left);
    if (share == 0) continue;
    plan.nodes.push_back(node);
    plan.expected.push_back({node, share / kPageBytes});
    because(fmt::format("node {} takes {} of {}", node, format_bytes(share),
                        format_bytes(needed_bytes())));
    left -= share;
  }
  if (left == 0) return {};
  if (plan.is_strict || plan.nodes.empty()) return too_little(ranked.front(), needed_bytes());
  // What is over goes to the last one: the kernel spills it to nodes that were not named.
  plan.expected.back().pages += left / kPageBytes;
  because(fmt::format("{} more than these nodes have free will go elsewhere", format_bytes(left)));
  return {};
}

// Dealt out over several nodes, by the kernel page by page or in ranges of ours.
Result<void> Planner::spread(Mode mode) {
  STRATA_TRY(check_nodes());
  plan.mode = mode;
  plan.nodes = placement.nodes;
  if (mode == Mode::weighted) {
    if (placement.weights.size() != placement.nodes.size() ||
        std::count(placement.weights.begin(), placement.weights.end(), 0u) != 0) {
      return fail(Code::invalid_argument,
                  placement.to_string() + ": each node needs a weight of at least 1");
    }
    plan.weights = placement.weights;
  }
  if (mode != Mode::interleave) {
    for (const int node : plan.nodes)
      plan.expected.push_back({node, 0});
    for (const NodeExtent& extent : extents(plan)) {
      const auto at = std::find(plan.nodes.begin(), plan.nodes.end(), extent.node);
      plan.expected[static_cast<std::size_t>(at - plan.nodes.begin())].pages +=
          extent.bytes / kPageBytes;
    }
  } else {
    const std::uint64_t units = (needed_bytes() + plan.page_bytes - 1) / plan.page_bytes;
    const std::uint64_t count = plan.nodes.size();
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t share = units / count + (i < units % count ? 1 : 0);
      plan.expected.push_back({plan.nodes[i], share * plan.page_bytes / kPageBytes});
    }
    // The last unit may be short.
    plan.expected[(units - 1) % count].pages -=
        (units * plan.page_bytes - needed_bytes()) / kPageBytes;
  }
  for (const NodePages& share : plan.expected) {
    if (fits(share.node, share.pages * kPageBytes)) continue;
    if (plan.is_strict) return too_little(share.node, share.pages * kPageBytes);
    plan.fallbacks.push_back(
        {share.node,
         fmt::format("node {} has {} free of {} needed: its rest goes to the others", share.node,
                     format_bytes(*free_on(share.node)), format_bytes(share.pages * kPageBytes))});
  }
  because(fmt::format("{} asked for by number", placement.to_string()));
  return {};
}

Result<void> Planner::plan_local() {
  if (!local_node) {
    if (plan.is_strict && topology.nodes().size() > 1) {
      return fail(Code::unsupported,
                  "a strict local placement needs to know which processor it runs on");
    }
    if (topology.nodes().size() > 1) {
      plan.mode = Mode::local;
      because("the node of the thread that touches first: no processor was given");
      return {};
    }
    local_node = topology.nodes().front().node;
  }
  because(fmt::format("node {} is the creating thread's", *local_node));
  std::vector<int> ranked{*local_node};
  if (!plan.is_strict) {
    std::vector<int> others;
    for (const MemoryNode& node : topology.nodes()) {
      if (node.node != *local_node && node.memory_bytes > 0) others.push_back(node.node);
    }
    std::stable_sort(others.begin(), others.end(), [&](int a, int b) {
      return topology.distance(*local_node, a).value_or(255) <
             topology.distance(*local_node, b).value_or(255);
    });
    ranked.insert(ranked.end(), others.begin(), others.end());
  }
  if (plan.is_strict) return bind_to(*local_node);
  return prefer(ranked);
}

Result<void> Planner::run() {
  switch (placement.kind) {
    case Kind::local: return plan_local();
    case Kind::node:
      STRATA_TRY(check_nodes());
      if (placement.nodes.size() != 1) {
        return fail(Code::invalid_argument, "node: exactly one, or use preferred or interleave");
      }
      because(fmt::format("node {} asked for by number", placement.nodes[0]));
      return bind_to(placement.nodes[0]);
    case Kind::preferred:
      STRATA_TRY(check_nodes());
      because(fmt::format("{} asked for by number", placement.to_string()));
      return prefer(placement.nodes);
    case Kind::interleave: return spread(Mode::interleave);
    case Kind::weighted: return spread(Mode::weighted);
    case Kind::split: return spread(Mode::split);
    case Kind::near_pci: return plan_near_pci();
    case Kind::tier: return plan_tier();
  }
  return fail(Code::invalid_argument,
              fmt::format("placement kind {} is unknown", static_cast<unsigned>(placement.kind)));
}

namespace {

Plan start_plan(std::uint64_t payload_bytes, PageSize page_size) {
  Plan plan;
  plan.payload_bytes = payload_bytes;
  plan.page_size = page_size;
  plan.page_bytes = page_bytes_of(page_size);
  return plan;
}

}  // namespace

std::string Plan::mode_name() const {
  switch (mode) {
    case Mode::local: return "local";
    case Mode::bind: return "bind";
    case Mode::preferred: return "preferred";
    case Mode::interleave: return "interleave";
    case Mode::weighted: return "weighted";
    case Mode::split: return "split";
  }
  return "?";
}

Result<Plan> make_plan(const Topology& topology, const Placement& placement,
                       std::uint64_t payload_bytes, PageSize page_size,
                       std::optional<int> local_cpu) {
  if (payload_bytes == 0 || payload_bytes > (std::uint64_t{1} << 62)) {
    return fail(Code::invalid_argument,
                fmt::format("a size of {} bytes cannot be placed", payload_bytes));
  }
  Planner planner{topology, placement, {}, start_plan(payload_bytes, page_size)};
  planner.plan.is_strict = placement.is_strict;
  if (local_cpu) planner.local_node = topology.memory_near_cpu(*local_cpu);
  STRATA_TRY(planner.run());
  Plan plan = std::move(planner.plan);
  plan.has_other_nodes =
      topology.nodes().size() + topology.forbidden_nodes().size() > plan.nodes.size();
  for (const int node : plan.nodes)
    plan.near_cpus.push_back(topology.find_node(node)->near_cpus);
  if (page_size == PageSize::thp) {
    plan.reasons.push_back("2 MiB pages where the kernel grants them, else 4 KiB");
  }
  return plan;
}

bool needs_topology(const Placement& placement) {
  return placement.kind != Kind::local || placement.is_strict;
}

Plan local_plan(std::uint64_t payload_bytes, PageSize page_size) {
  Plan plan = start_plan(payload_bytes, page_size);
  plan.reasons.push_back("the node of the creating thread");
  return plan;
}

std::vector<NodeExtent> extents(const Plan& plan) {
  std::vector<NodeExtent> cut;
  const std::uint64_t total_bytes = placed_bytes(plan);
  std::uint64_t offset_bytes = 0;
  if (plan.mode == Mode::preferred) {
    for (const NodePages& share : plan.expected) {
      const std::uint64_t bytes = std::min(share.pages * kPageBytes, total_bytes - offset_bytes);
      cut.push_back({offset_bytes, bytes, share.node});
      offset_bytes += bytes;
    }
    return cut;
  }
  if (plan.mode == Mode::split) {
    const std::uint64_t part_bytes =
        align_up((total_bytes + plan.nodes.size() - 1) / plan.nodes.size(),
                 std::max(plan.page_bytes, kSplitUnitBytes));
    for (const int node : plan.nodes) {
      const std::uint64_t bytes = std::min(part_bytes, total_bytes - offset_bytes);
      if (bytes == 0) break;
      cut.push_back({offset_bytes, bytes, node});
      offset_bytes += bytes;
    }
    return cut;
  }
  if (plan.mode != Mode::weighted) return cut;
  const std::uint64_t weight_sum =
      std::accumulate(plan.weights.begin(), plan.weights.end(), std::uint64_t{0});
  const std::uint64_t most_rounds = std::max<std::uint64_t>(1, kMaxStripes / plan.nodes.size());
  const std::uint64_t per_round = align_up(total_bytes, plan.page_bytes) / plan.page_bytes;
  // Pages per weight, so that the rounds stay within their limit.
  const std::uint64_t rounds_at_one = (per_round + weight_sum - 1) / weight_sum;
  const std::uint64_t unit_pages = (rounds_at_one + most_rounds - 1) / most_rounds;
  const std::uint64_t unit_bytes = unit_pages * plan.page_bytes;
  while (offset_bytes < total_bytes) {
    for (std::size_t i = 0; i < plan.nodes.size() && offset_bytes < total_bytes; ++i) {
      const std::uint64_t bytes =
          std::min(unit_bytes * plan.weights[i], total_bytes - offset_bytes);
      cut.push_back({offset_bytes, bytes, plan.nodes[i]});
      offset_bytes += bytes;
    }
  }
  return cut;
}

}  // namespace strata::inline v0_1
