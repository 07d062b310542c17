// Memory that is shared by legacy CUDA IPC handles: only where somebody has chosen it, to share
// what was allocated with cudaMalloc, or where the driver exports nothing else.
//   Threads:  any.
//   Lifetime: the memory ends with the process that allocated it, or when it frees it; what others
//             have mapped then is undefined. Destruction closes or frees, except what was adopted.
//   Errors:   see each function.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "gpu/device_memory.h"
#include "strata/base/result.h"

namespace strata::inline v0_1::cuda {

// The device that this memory is on. Errors: invalid_argument for what is no device memory of this
// process.
Result<Device*> device_of(const Devices& devices, CuDevicePointer address);

// Allocates, of undefined content.
Result<ExportedMemory> create_legacy(Device& device, std::uint64_t bytes);

// Exports memory that belongs to somebody in this process, and stays theirs: it must outlive the
// segment. A handle always stands for the whole allocation; the export says where in it the range
// begins. Errors: invalid_argument where the range is not within one allocation of this device;
// unsupported for memory that has no such handle (virtual memory management, pools, managed), with
// what to do.
Result<ExportedMemory> adopt_legacy(Device& device, CuDevicePointer address, std::uint64_t bytes);

// Opens what another process exported, or this one. Errors: failed_precondition where its exporter
// is gone; corrupt where it is smaller than the export says.
Result<std::unique_ptr<DeviceMemory>> import_legacy(Device& device, const Device& owner,
                                                    const std::array<std::uint8_t, 64>& handle,
                                                    std::uint64_t allocation_bytes);

}  // namespace strata::inline v0_1::cuda
