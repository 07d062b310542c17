// Builds a Topology through hwloc: the only file that calls it.
#include <hwloc.h>

#include <algorithm>
#include <memory>

#include "numa/sysfs.h"
#include "numa/topology.h"
#include "os/os.h"

namespace strata::inline v0_1 {
namespace {

struct DestroyTopology {
  void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
};
using HwlocTopology = std::unique_ptr<hwloc_topology, DestroyTopology>;

Result<HwlocTopology> start() {
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) {
    return fail(Code::exhausted, "hwloc could not start: out of memory");
  }
  return HwlocTopology(topology);
}

std::vector<int> numbers_of(hwloc_const_bitmap_t bitmap) {
  std::vector<int> numbers;
  if (bitmap == nullptr || hwloc_bitmap_weight(bitmap) < 0) return numbers;  // -1: infinite
  for (int n = hwloc_bitmap_first(bitmap); n >= 0; n = hwloc_bitmap_next(bitmap, n))
    numbers.push_back(n);
  return numbers;
}

std::optional<std::uint64_t> attribute(hwloc_topology_t topology, hwloc_obj_t node,
                                       hwloc_memattr_id_t id, hwloc_memattr_id_t read_id) {
  for (const hwloc_memattr_id_t each : {id, read_id}) {
    hwloc_location from{};
    hwloc_uint64_t value = 0;
    if (hwloc_memattr_get_best_initiator(topology, each, node, 0, &from, &value) == 0 &&
        value > 0) {
      return value;
    }
  }
  return {};
}

// hwloc gives a node without processors the processors that are near to it. Of several nodes
// with the same ones, one is their own: DRAM before other kinds, then the lowest number.
bool owns_its_cpus(hwloc_topology_t topology, hwloc_obj_t node) {
  if (node->cpuset == nullptr || hwloc_bitmap_iszero(node->cpuset)) return false;
  const auto rank = [](hwloc_obj_t each) {
    const bool is_dram = each->subtype == nullptr || std::string_view(each->subtype) == "DRAM";
    return std::pair(is_dram ? 0 : 1, each->os_index);
  };
  hwloc_obj_t other = nullptr;
  while ((other = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, other)) != nullptr) {
    if (other == node || other->cpuset == nullptr || hwloc_bitmap_iszero(other->cpuset)) continue;
    if (!hwloc_bitmap_isincluded(other->cpuset, node->cpuset)) continue;
    if (!hwloc_bitmap_isequal(other->cpuset, node->cpuset) || rank(other) < rank(node)) {
      return false;
    }
  }
  return true;
}

MemoryNode read_node(hwloc_topology_t topology, hwloc_obj_t object) {
  MemoryNode node;
  node.node = static_cast<int>(object->os_index);
  if (object->subtype != nullptr) node.kind = object->subtype;
  node.memory_bytes = object->attr->numanode.local_memory;
  node.near_cpus = numbers_of(object->cpuset);
  if (owns_its_cpus(topology, object)) node.cpus = node.near_cpus;
  node.bandwidth_mb_per_s =
      attribute(topology, object, HWLOC_MEMATTR_ID_BANDWIDTH, HWLOC_MEMATTR_ID_READ_BANDWIDTH);
  node.latency_ns =
      attribute(topology, object, HWLOC_MEMATTR_ID_LATENCY, HWLOC_MEMATTR_ID_READ_LATENCY);
  if (node.memory_bytes > 0) node.capacity_bytes = node.memory_bytes;
  return node;
}

// The node of a device whose nearest hwloc object spans `nodeset`. A span over processors of
// several nodes says nothing.
std::optional<int> node_of_span(hwloc_topology_t topology, hwloc_const_bitmap_t nodeset) {
  std::optional<int> found;
  for (const int number : numbers_of(nodeset)) {
    const hwloc_obj_t node =
        hwloc_get_numanode_obj_by_os_index(topology, static_cast<unsigned>(number));
    if (node == nullptr || !owns_its_cpus(topology, node)) continue;
    if (found) return {};
    found = number;
  }
  return found;
}

std::string pci_text(unsigned domain, unsigned bus, unsigned device, unsigned function) {
  char text[32];
  std::snprintf(text, sizeof text, "%04x:%02x:%02x.%x", domain, bus, device, function);
  return text;
}

std::vector<PciDevice> read_devices(hwloc_topology_t topology) {
  std::vector<PciDevice> devices;
  hwloc_obj_t object = nullptr;
  while ((object = hwloc_get_next_pcidev(topology, object)) != nullptr) {
    const auto& facts = object->attr->pcidev;
    PciDevice device;
    device.address = pci_text(facts.domain, facts.bus, facts.dev, facts.func);
    device.class_code = facts.class_id;
    device.vendor = facts.vendor_id;
    const hwloc_obj_t near = hwloc_get_non_io_ancestor_obj(topology, object);
    if (near != nullptr) device.node = node_of_span(topology, near->nodeset);
    devices.push_back(std::move(device));
  }
  return devices;
}

// Devices as the kernel tells them: it says -1 where the firmware does not say.
std::vector<PciDevice> read_sysfs_devices(Os& os, const Topology& topology) {
  std::vector<PciDevice> devices;
  const std::string root = "/sys/bus/pci/devices/";
  const auto names = os.list_directory(root);
  if (!names) return devices;
  for (const std::string& name : *names) {
    PciDevice device;
    device.address = name;
    const auto hex = [&](const char* file) {
      return std::strtoul(read_trimmed(os, root + name + "/" + file).c_str(), nullptr, 16);
    };
    device.class_code = static_cast<std::uint32_t>(hex("class") >> 8);
    device.vendor = static_cast<std::uint32_t>(hex("vendor"));
    const auto node = read_number(os, root + name + "/numa_node");  // "-1" is no number here
    const MemoryNode* const near = node ? topology.find_node(static_cast<int>(*node)) : nullptr;
    const bool has_memory = near != nullptr && near->memory_bytes > 0;
    if (has_memory || (node && topology.is_forbidden(static_cast<int>(*node)))) {
      device.node = static_cast<int>(*node);
    }
    devices.push_back(std::move(device));
  }
  return devices;
}

std::vector<std::vector<int>> read_distances(hwloc_topology_t topology,
                                             const std::vector<MemoryNode>& nodes) {
  std::vector<std::vector<int>> matrix;
  unsigned count = 1;
  hwloc_distances_s* found = nullptr;
  if (hwloc_distances_get_by_type(topology, HWLOC_OBJ_NUMANODE, &count, &found,
                                  HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) != 0 ||
      count == 0) {
    return matrix;
  }
  matrix.assign(nodes.size(), std::vector<int>(nodes.size(), 0));
  const auto place_of = [&](hwloc_obj_t object) {
    const auto node = std::find_if(nodes.begin(), nodes.end(), [&](const MemoryNode& each) {
      return each.node == static_cast<int>(object->os_index);
    });
    return static_cast<std::size_t>(node - nodes.begin());
  };
  for (unsigned from = 0; from < found->nbobjs; ++from) {
    for (unsigned to = 0; to < found->nbobjs; ++to) {
      if (found->objs[from] == nullptr || found->objs[to] == nullptr) continue;
      const std::size_t row = place_of(found->objs[from]);
      const std::size_t column = place_of(found->objs[to]);
      if (row < nodes.size() && column < nodes.size()) {
        matrix[row][column] = static_cast<int>(found->values[from * found->nbobjs + to]);
      }
    }
  }
  hwloc_distances_release(topology, found);
  return matrix;
}

}  // namespace

struct TopologyReader {
  static Result<Topology> read(hwloc_topology_t source) {
    std::vector<MemoryNode> nodes;
    hwloc_obj_t object = nullptr;
    while ((object = hwloc_get_next_obj_by_type(source, HWLOC_OBJ_NUMANODE, object)) != nullptr)
      nodes.push_back(read_node(source, object));
    if (nodes.empty()) return fail(Code::corrupt, "the topology has no memory node");
    Topology topology = Topology::from_parts(std::move(nodes), read_devices(source));
    topology.distances_ = read_distances(source, topology.nodes_);
    return topology;
  }

  // Nodes outside of the cpuset, with their rows and columns of the distances. The kernel's own
  // list is asked: hwloc looks for the cgroup's files, which a container may hide.
  static void drop_forbidden(Os& os, Topology& topology) {
    std::vector<int> forbidden = forbidden_nodes(os);
    const auto is_allowed = [&](const MemoryNode& node) {
      return std::find(forbidden.begin(), forbidden.end(), node.node) == forbidden.end();
    };
    if (std::none_of(topology.nodes_.begin(), topology.nodes_.end(), is_allowed)) return;
    topology.forbidden_nodes_ = std::move(forbidden);
    for (std::size_t i = topology.nodes_.size(); i-- > 0;) {
      if (!topology.is_forbidden(topology.nodes_[i].node)) continue;
      const auto at = static_cast<std::ptrdiff_t>(i);
      topology.nodes_.erase(topology.nodes_.begin() + at);
      if (topology.distances_.empty()) continue;
      topology.distances_.erase(topology.distances_.begin() + at);
      for (std::vector<int>& row : topology.distances_)
        row.erase(row.begin() + at);
    }
  }

  // What the kernel knows better than hwloc, or what hwloc does not tell.
  static void add_machine_facts(Os& os, Topology& topology) {
    topology.is_this_machine_ = true;
    drop_forbidden(os, topology);
    const bool is_whole = topology.nodes_.size() == 1 && topology.forbidden_nodes_.empty();
    for (MemoryNode& node : topology.nodes_) {
      const std::string directory = "/sys/devices/system/node/node" + std::to_string(node.node);
      if (const auto list = os.read_file(directory + "/cpulist")) {
        node.cpus = parse_number_list(*list);
        if (node.near_cpus.empty()) node.near_cpus = node.cpus;
      }
      if (node.memory_bytes == 0 && is_whole) {
        node.memory_bytes =
            meminfo_bytes(read_trimmed(os, "/proc/meminfo"), "MemTotal").value_or(0);
        if (node.memory_bytes > 0) node.capacity_bytes = node.memory_bytes;
      }
    }
    (void)topology.refresh_free_bytes(os);
    topology.pci_devices_ = read_sysfs_devices(os, topology);
  }
};

Result<Topology> Topology::from_machine(Os& os) {
  STRATA_ASSIGN(const HwlocTopology source, start());
  if (hwloc_topology_load(source.get()) != 0) {
    return fail(Code::internal, "hwloc cannot read the topology of this machine");
  }
  STRATA_ASSIGN(Topology topology, TopologyReader::read(source.get()));
  return with_machine_facts(os, std::move(topology));
}

Topology Topology::with_machine_facts(Os& os, Topology topology) {
  TopologyReader::add_machine_facts(os, topology);
  return topology;
}

Result<Topology> Topology::from_synthetic(std::string_view text) {
  STRATA_ASSIGN(const HwlocTopology source, start());
  const std::string copy(text);
  if (hwloc_topology_set_synthetic(source.get(), copy.c_str()) != 0 ||
      hwloc_topology_load(source.get()) != 0) {
    return fail(Code::invalid_argument, "\"" + copy +
                                            "\" is no hwloc synthetic description; an example: "
                                            "\"node:2 core:4 pu:1\"");
  }
  return TopologyReader::read(source.get());
}

Result<Topology> Topology::from_xml(Os& os, const std::string& path) {
  STRATA_ASSIGN(std::string text, os.read_file(path));
  // hwloc 2.9 refuses what lstopo 3 writes by its version alone; what is read here is the same.
  constexpr std::string_view kNewer = "<topology version=\"3.0\"";
  if (const std::size_t at = text.find(kNewer); at != std::string::npos) {
    text.replace(at, kNewer.size(), "<topology version=\"2.0\"");
  }
  STRATA_ASSIGN(const HwlocTopology source, start());
  // The length counts the closing NUL.
  if (hwloc_topology_set_io_types_filter(source.get(), HWLOC_TYPE_FILTER_KEEP_ALL) != 0 ||
      hwloc_topology_set_xmlbuffer(source.get(), text.c_str(), static_cast<int>(text.size() + 1)) !=
          0 ||
      hwloc_topology_load(source.get()) != 0) {
    return fail(Code::corrupt, path + " is no hwloc XML topology; write one with lstopo FILE.xml");
  }
  return TopologyReader::read(source.get());
}

}  // namespace strata::inline v0_1
