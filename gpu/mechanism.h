// Which ways of sharing memory a device really has: each is tried with a small allocation, and
// what works is remembered.
//   Threads:  any.
//   Errors:   see each function; the messages name the reason and what to do instead.
//   Cost:     the first time some calls of the driver; then a lock.
#pragma once

#include "gpu/device_memory.h"
#include "strata/base/result.h"
#include "strata/gpu/device.h"
#include "strata/segment/options.h"

namespace strata::inline v0_1::cuda {

// Errors: unsupported where the device cannot or may not; what the driver said where it failed for
// another reason. No failure is remembered.
Result<void> check_mechanism(Device& device, DeviceMechanism mechanism);

// The mechanism that is meant: `automatic` is vmm_fd, or the error that says why it cannot be.
Result<DeviceMechanism> choose_mechanism(Device& device, DeviceMechanism wanted);

// What this driver's exported descriptors are to the kernel; anything else is no device memory.
Result<DescriptorKind> exported_kind(Os& os, Device& device);

}  // namespace strata::inline v0_1::cuda
