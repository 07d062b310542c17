// Whether the device under a pool lost what was on its way to it while somebody had the pool open.
// libpmemobj notes the device's count of such shutdowns in the pool, and refuses the pool where it
// was open (or left so by a kill) and the count is another one now.
//   Errors:   none; what cannot be told is no failure. Devices that keep no count have 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "os/os.h"

namespace strata::inline v0_1 {

// In the pool header of PMDK 1.12.
inline constexpr std::size_t kObjIncompatibleFeaturesAt = 16;  // u32
inline constexpr std::uint32_t kObjHasDeviceState = 4;         // one of these features
inline constexpr std::size_t kObjDeviceStateAt = 4024;
inline constexpr std::size_t kObjDeviceStateBytes = 64;

// What is wrong; empty where nothing is.
std::string device_failure(Os& os, int pool_fd);

}  // namespace strata::inline v0_1
