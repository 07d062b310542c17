// A Topology says which memory nodes there are, what each is good for and what is near to it:
// of this machine, of a captured one (hwloc XML), or of one made up from a synthetic string.
//   Threads:  a value; const members any.
//   Errors:   see each function. What is not known stays empty: it is never a silent 0.
//   Cost:     from_machine reads all of sysfs, milliseconds: keep the value and call
//             refresh_free_bytes() instead. A placement on the local node needs no topology.
// A node without processors (CXL, HBM) is a memory node like any other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "strata/base/result.h"

namespace strata::inline v0_1 {

class Os;

// The pages that the administrator reserved for hugetlb.
struct HugePagePool {
  std::uint64_t page_bytes = 0;
  std::uint64_t total_pages = 0;
  std::uint64_t free_pages = 0;       // and promised to nobody
  std::uint64_t on_demand_pages = 0;  // that the kernel would make besides (overcommit), if it can

  std::uint64_t available_pages() const { return free_pages + on_demand_pages; }
};

struct MemoryNode {
  int node = 0;      // the kernel's number of it
  std::string kind;  // "DRAM", "HBM", …; empty where nobody says
  std::uint64_t memory_bytes = 0;
  std::optional<std::uint64_t> free_bytes;          // free, or page cache that gives way at once
  std::vector<int> cpus;                            // its own; none on a memory-only node
  std::vector<int> near_cpus;                       // those with the best access to it
  std::optional<std::uint64_t> bandwidth_mb_per_s;  // from the nearest processors
  std::optional<std::uint64_t> latency_ns;
  std::optional<std::uint64_t> capacity_bytes;
  std::vector<HugePagePool> huge_page_pools;

  bool is_memory_only() const { return cpus.empty(); }
};

struct PciDevice {
  std::string address;           // "0000:3b:00.0"
  std::uint32_t class_code = 0;  // 0x0302: 3D controller; the upper 16 bits of sysfs `class`
  std::uint32_t vendor = 0;
  std::optional<int> node;  // the nearest node with memory, where the platform says; also forbidden
};

class Topology {
 public:
  // This machine. Without /sys/devices/system/node (some containers) it is one node with all
  // the memory that /proc/meminfo tells.
  static Result<Topology> from_machine(Os& os);
  // An hwloc synthetic description: "node:2 core:4 pu:1". Errors: invalid_argument.
  static Result<Topology> from_synthetic(std::string_view text);
  // A file written by `lstopo FILE.xml`. Errors: not_found; corrupt.
  static Result<Topology> from_xml(Os& os, const std::string& path);
  // A file of that name, else a synthetic description.
  static Result<Topology> load(Os& os, const std::string& spec);
  // From its parts, for tests. Nodes are sorted by number; there has to be one.
  static Topology from_parts(std::vector<MemoryNode> nodes, std::vector<PciDevice> devices = {});

  const std::vector<MemoryNode>& nodes() const { return nodes_; }
  // Nodes with memory that the cpuset of this process keeps it out of; they are not among nodes().
  const std::vector<int>& forbidden_nodes() const { return forbidden_nodes_; }
  bool is_forbidden(int node) const;
  const std::vector<PciDevice>& pci_devices() const { return pci_devices_; }
  const MemoryNode* find_node(int node) const;
  // "3b:00.0" finds "0000:3b:00.0" too.
  const PciDevice* find_pci_device(std::string_view address) const;
  // SLIT distance, 10 for itself; empty where it is not known.
  std::optional<int> distance(int from_node, int to_node) const;
  // The node that `cpu` belongs to.
  std::optional<int> node_of_cpu(int cpu) const;
  // The node that memory near to `cpu` comes from: its own, or where that has no memory the
  // nearest with some.
  std::optional<int> memory_near_cpu(int cpu) const;
  // "0, 1, 2"
  std::string node_list() const;

  // `topology` as that of this machine: with what the kernel knows better than hwloc, and without
  // the nodes that this process may not use. A part of from_machine().
  static Topology with_machine_facts(Os& os, Topology topology);

  // Reads free memory and huge page pools again, of this machine only.
  Result<void> refresh_free_bytes(Os& os);
  bool is_this_machine() const { return is_this_machine_; }

 private:
  std::vector<MemoryNode> nodes_;
  std::vector<int> forbidden_nodes_;
  std::vector<PciDevice> pci_devices_;
  std::vector<std::vector<int>> distances_;  // as nodes_; empty where they are not known
  bool is_this_machine_ = false;

  friend struct TopologyReader;
};

}  // namespace strata::inline v0_1
