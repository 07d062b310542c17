#include "numa/topology.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "numa/sysfs.h"
#include "os/os.h"

namespace strata::inline v0_1 {

Topology Topology::from_parts(std::vector<MemoryNode> nodes, std::vector<PciDevice> devices) {
  STRATA_CHECK(!nodes.empty());
  std::sort(nodes.begin(), nodes.end(),
            [](const auto& a, const auto& b) { return a.node < b.node; });
  Topology topology;
  topology.nodes_ = std::move(nodes);
  topology.pci_devices_ = std::move(devices);
  return topology;
}

Result<Topology> Topology::load(Os& os, const std::string& spec) {
  // A synthetic description may contain a slash or a dot, so only the file itself decides.
  if (os.stat(spec)) return from_xml(os, spec);
  auto synthetic = from_synthetic(spec);
  if (synthetic) return synthetic;
  return fail(Code::invalid_argument, "topology \"" + spec +
                                          "\": no such file, and not an hwloc synthetic "
                                          "description such as \"node:2 core:4 pu:1\"");
}

const MemoryNode* Topology::find_node(int node) const {
  const auto found = std::find_if(nodes_.begin(), nodes_.end(),
                                  [&](const MemoryNode& each) { return each.node == node; });
  return found == nodes_.end() ? nullptr : &*found;
}

bool Topology::is_forbidden(int node) const {
  return std::find(forbidden_nodes_.begin(), forbidden_nodes_.end(), node) !=
         forbidden_nodes_.end();
}

const PciDevice* Topology::find_pci_device(std::string_view address) const {
  for (const PciDevice& device : pci_devices_) {
    if (device.address == address) return &device;
    if (device.address.starts_with("0000:") && device.address.substr(5) == address) return &device;
  }
  return nullptr;
}

std::optional<int> Topology::distance(int from_node, int to_node) const {
  if (distances_.empty()) return {};
  const MemoryNode* from = find_node(from_node);
  const MemoryNode* to = find_node(to_node);
  if (from == nullptr || to == nullptr) return {};
  const int value = distances_[static_cast<std::size_t>(from - nodes_.data())]
                              [static_cast<std::size_t>(to - nodes_.data())];
  if (value <= 0) return {};
  return value;
}

std::optional<int> Topology::node_of_cpu(int cpu) const {
  for (const MemoryNode& node : nodes_) {
    if (std::find(node.cpus.begin(), node.cpus.end(), cpu) != node.cpus.end()) return node.node;
  }
  return {};
}

std::optional<int> Topology::memory_near_cpu(int cpu) const {
  const auto own = node_of_cpu(cpu);
  if (own && find_node(*own)->memory_bytes > 0) return own;
  const MemoryNode* best = nullptr;
  int best_distance = std::numeric_limits<int>::max();
  for (const MemoryNode& node : nodes_) {
    if (node.memory_bytes == 0) continue;
    const bool is_near =
        std::find(node.near_cpus.begin(), node.near_cpus.end(), cpu) != node.near_cpus.end();
    const auto known = own ? distance(*own, node.node) : std::nullopt;
    const int to_here = known ? *known : is_near ? 10 : 255;
    if (to_here < best_distance) best = &node, best_distance = to_here;
  }
  if (best == nullptr) return {};
  return best->node;
}

std::string Topology::node_list() const {
  std::string text;
  for (const MemoryNode& node : nodes_)
    text += (text.empty() ? "" : ", ") + std::to_string(node.node);
  return text;
}

Result<void> Topology::refresh_free_bytes(Os& os) {
  if (!is_this_machine_) {
    return fail(Code::failed_precondition, "free memory is known of this machine only");
  }
  for (MemoryNode& node : nodes_) {
    node.free_bytes = available_bytes(os, node.node);
    node.huge_page_pools = huge_page_pools(os, node.node);
    // Without sysfs, or with one node, what holds for the machine holds for the node: but not for
    // the only one that a cpuset has left.
    if (nodes_.size() == 1 && forbidden_nodes_.empty()) {
      if (const auto all = available_bytes(os)) node.free_bytes = all;
      node.huge_page_pools = huge_page_pools(os, -1);
    }
  }
  return {};
}

}  // namespace strata::inline v0_1
