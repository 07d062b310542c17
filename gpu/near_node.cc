#include "strata/gpu/near_node.h"

#include <fmt/format.h>

#include "gpu/driver.h"
#include "numa/sysfs.h"
#include "os/os.h"
#include "strata/os/real_os.h"

namespace strata::inline v0_1::cuda {

NearNode near_node(const Device& device) { return near_node(real_os(), device); }

NearNode near_node(Os& os, const Device& device) {
  const std::string path = fmt::format("/sys/bus/pci/devices/{}/numa_node", device.pci_address());
  // "-1" where the platform does not say; in a virtual machine that is usual.
  if (const auto node = read_number(os, path)) return {static_cast<int>(*node), path};
  const auto told = device.attribute(kAttributeHostNumaId);
  if (told && *told >= 0) return {*told, "the driver"};
  const auto nodes = sysfs_nodes(os);
  if (nodes.size() == 1) return {nodes.front(), "there is no other node"};
  return {{},
          fmt::format("neither {} nor the driver tells which node is near to {}", path,
                      device.describe())};
}

}  // namespace strata::inline v0_1::cuda
