// A machine as a picture: a card for each memory node with its processors and memory, the
// devices near to it, and how far the nodes are from each other.
#pragma once

#include <string_view>
#include <vector>

#include "numa/gpu_devices.h"
#include "numa/topology.h"
#include "tools/terminal/svg.h"

namespace strata::inline v0_1::tools {

Svg draw_topology(const Topology& topology, const std::vector<GpuDevice>& gpus,
                  std::string_view name);

// "GPU", "network", "NVMe": what a person calls a PCI class; empty for what nobody places
// memory near to, such as bridges.
std::string_view device_kind(const PciDevice& device);

bool is_one_of(const std::vector<GpuDevice>& gpus, const PciDevice& device);

}  // namespace strata::inline v0_1::tools
