// Which node of this machine's memory is near to a device.
//   Threads:  any.
//   Cost:     a read of a file in /sys; a call of the driver where that does not say.
#pragma once

#include <optional>
#include <string>

#include "strata/gpu/device.h"

namespace strata::inline v0_1 {
class Os;  // hidden: declared outside of the pragma
}

#pragma GCC visibility push(default)

namespace strata::inline v0_1::cuda {

struct NearNode {
  // Nothing where nobody says: it is never a guess.
  std::optional<int> node;
  // Where it is known from, or why it is not, for people.
  std::string source;
};

// Asks the bus that the device is on, then the driver; where there is one node only it is that.
NearNode near_node(const Device& device);
NearNode near_node(Os& os, const Device& device);

}  // namespace strata::inline v0_1::cuda
#pragma GCC visibility pop
