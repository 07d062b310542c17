// Small readers of /proc and /sys, shared by topology, limits and doctor facts.
//   Errors:   none: what cannot be read or understood is empty.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "numa/topology.h"

namespace strata::inline v0_1 {

// The number at the start of `text`, after blanks.
std::optional<std::uint64_t> parse_number(std::string_view text);
// The kernel's list format: "0-3,8". Stops at what it does not understand.
std::vector<int> parse_number_list(std::string_view text);

std::string read_trimmed(Os& os, const std::string& path);  // empty where it cannot be read
std::optional<std::uint64_t> read_number(Os& os, const std::string& path);

// The value of "KEY:   123 kB" in the text of a meminfo file, in bytes.
std::optional<std::uint64_t> meminfo_bytes(std::string_view text, std::string_view key);

// Memory that this machine can give out without swapping (MemAvailable).
std::optional<std::uint64_t> available_bytes(Os& os);
// The same of one node, which the kernel does not tell directly: free pages, clean page cache
// and half of the reclaimable slab.
std::optional<std::uint64_t> available_bytes(Os& os, int node);

// The hugetlb pools of a node, or of the whole machine with node -1. What is promised to mappings,
// and what may be made on demand, is known of the machine only: a node has no more of it than that.
std::vector<HugePagePool> huge_page_pools(Os& os, int node);

// The word in brackets: "never" of "always [never] deny".
std::string chosen_word(std::string_view text);

// The nodes that the cpuset of this process allows (Mems_allowed_list), sorted; empty where the
// kernel does not tell.
std::vector<int> allowed_nodes(Os& os);
// Nodes that have memory, and that the cpuset of this process keeps it out of.
std::vector<int> forbidden_nodes(Os& os);

// Numbers of the nodes in /sys/devices/system/node, sorted; empty where that does not exist.
std::vector<int> sysfs_nodes(Os& os);

}  // namespace strata::inline v0_1
