// How often this process has called the driver: what an operation costs before any time is taken.
//   Threads:  any; calls of other threads are counted too.
//   Cost:     an atomic addition before each call of the driver.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "gpu/driver_abi.h"

namespace strata::inline v0_1::cuda {

struct CallCount {
  std::string_view name;
  std::uint64_t calls = 0;
};

// Of each call that was made at all, as driver_abi.h lists them.
std::vector<CallCount> driver_call_counts();
std::uint64_t driver_calls();

// The same calls with a count before each. A process has one driver (Driver::load), and so one
// table at most.
DriverTable counted(const DriverTable& table);

}  // namespace strata::inline v0_1::cuda
