// Placements that the machine decides: near to a device, or on a tier of memory.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "numa/planner.h"

namespace strata::inline v0_1 {
namespace {

using Mode = Plan::Mode;

struct TierFacts {
  const char* name;
  const char* unit;
  bool more_is_better;
  std::optional<std::uint64_t> (*of)(const MemoryNode&);
};

TierFacts tier_facts(Tier tier) {
  if (tier == Tier::latency) {
    return {"latency", "ns", false, [](const MemoryNode& node) { return node.latency_ns; }};
  }
  if (tier == Tier::capacity) {
    return {"capacity", "bytes", true, [](const MemoryNode& node) { return node.capacity_bytes; }};
  }
  return {"bandwidth", "MB/s", true,
          [](const MemoryNode& node) { return node.bandwidth_mb_per_s; }};
}

std::string tier_value(const TierFacts& facts, std::uint64_t value) {
  if (facts.unit == std::string_view("bytes")) return format_bytes(value);
  if (facts.unit == std::string_view("MB/s") && value >= 1000) {
    return fmt::format("{:.3g} GB/s", static_cast<double>(value) / 1000.0);
  }
  return fmt::format("{} {}", value, facts.unit);
}

}  // namespace

Result<void> Planner::plan_near_pci() {
  const PciDevice* device = topology.find_pci_device(placement.pci_address);
  if (device == nullptr) {
    std::string some;
    for (std::size_t i = 0; i < topology.pci_devices().size() && i < 4; ++i)
      some += (i == 0 ? "" : ", ") + topology.pci_devices()[i].address;
    return fail(Code::not_found, fmt::format("no PCI device {}; {}", placement.pci_address,
                                             some.empty() ? "this topology has none"
                                                          : "there are " + some + " and so on"));
  }
  std::optional<int> node = device->node;
  if (node && topology.is_forbidden(*node)) {
    if (plan.is_strict) return not_allowed(*node);
    because(fmt::format("node {} is the nearest to {}, and not allowed by this cpuset", *node,
                        device->address));
    return plan_local();
  }
  if (node) {
    because(fmt::format("node {} is the nearest to {}", *node, device->address));
  } else if (topology.nodes().size() == 1) {
    node = topology.nodes().front().node;
    because(fmt::format("node {} is the only one", *node));
  } else if (plan.is_strict) {
    return fail(Code::unsupported, fmt::format("the platform does not tell which of the nodes {} "
                                               "is near to {}; name one with node:N",
                                               topology.node_list(), device->address));
  } else {
    because(fmt::format("the platform does not tell which node is near to {}", device->address));
    return plan_local();
  }
  if (plan.is_strict) return bind_to(*node);
  std::vector<int> ranked{*node};
  for (const MemoryNode& each : topology.nodes()) {
    if (each.node != *node && each.memory_bytes > 0) ranked.push_back(each.node);
  }
  std::stable_sort(ranked.begin() + 1, ranked.end(), [&](int a, int b) {
    return topology.distance(*node, a).value_or(255) < topology.distance(*node, b).value_or(255);
  });
  return prefer(ranked);
}

Result<void> Planner::plan_tier() {
  const TierFacts facts = tier_facts(placement.tier);
  std::vector<const MemoryNode*> known;
  for (const MemoryNode& node : topology.nodes()) {
    if (node.memory_bytes > 0 && facts.of(node)) known.push_back(&node);
  }
  if (known.empty()) {
    if (topology.nodes().size() == 1) {
      because(fmt::format("the {} of no node is known, and node {} is the only one", facts.name,
                          topology.nodes().front().node));
      local_node = topology.nodes().front().node;
      return plan_local();
    }
    if (plan.is_strict) {
      return fail(Code::unsupported,
                  fmt::format("the platform tells the {} of no node (it needs an ACPI HMAT); use "
                              "tier:capacity or name a node",
                              facts.name));
    }
    because(fmt::format("the platform tells the {} of no node", facts.name));
    return plan_local();
  }
  // The best first; among equals the nearest to the creating thread.
  const auto distance = [&](const MemoryNode* node) {
    return local_node ? topology.distance(*local_node, node->node).value_or(255) : 0;
  };
  const auto is_near = [&](const MemoryNode* node) {
    const MemoryNode* local = local_node ? topology.find_node(*local_node) : nullptr;
    return local != nullptr && node->near_cpus == local->near_cpus;
  };
  std::stable_sort(known.begin(), known.end(), [&](const MemoryNode* a, const MemoryNode* b) {
    const std::uint64_t left = *facts.of(*a), right = *facts.of(*b);
    if (left != right) return facts.more_is_better ? left > right : left < right;
    if (is_near(a) != is_near(b)) return is_near(a);
    return distance(a) < distance(b);
  });
  const std::uint64_t best = *facts.of(*known.front());
  because(fmt::format("node {} has the {} {}: {}", known.front()->node,
                      facts.more_is_better ? "highest" : "lowest", facts.name,
                      tier_value(facts, best)));
  std::vector<int> ranked;
  for (const MemoryNode* node : known) {
    if (plan.is_strict && *facts.of(*node) != best) break;
    ranked.push_back(node->node);
    if (node != known.front()) {
      because(fmt::format("node {}: {}", node->node, tier_value(facts, *facts.of(*node))));
    }
  }
  if (plan.is_strict && ranked.size() == 1) return bind_to(ranked.front());
  return prefer(ranked);
}

}  // namespace strata::inline v0_1
