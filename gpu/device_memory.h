// Memory of a device that is mapped into this process, and how it is shared with others.
//   Threads:  const members any; the others one thread at a time.
//   Lifetime: destruction unmaps, and gives up this process's part of the memory; nothing where
//             the process may not use the driver any more. What the driver refuses to take back is
//             kept and tried again (gpu/leftovers.h).
//   Errors:   see each function; nothing is left behind on failure.
//   Cost:     some calls of the driver each; making memory readable by others costs no copy.
// Virtual memory management (cuMemCreate and what belongs to it): the allocation lives as long as
// somebody has it mapped, or holds the descriptor that it was exported as.
#pragma once

#include <sys/stat.h>

#include <array>
#include <cstdint>
#include <memory>

#include "os/os.h"
#include "strata/base/result.h"
#include "strata/gpu/device.h"
#include "strata/os/deadline.h"
#include "strata/os/fd.h"
#include "strata/segment/options.h"

namespace strata::inline v0_1::cuda {

class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  Device& device() const { return device_; }
  CuDevicePointer address() const { return address_; }
  std::uint64_t bytes() const { return bytes_; }
  // What this mapping may be used for from now on. Errors: unsupported where the driver cannot take
  // the right to write.
  virtual Result<void> set_access(Access access) = 0;
  // Lets another device of this process use the mapping as this one may. Any thread. Errors:
  // unsupported, or as the driver says where that device does not reach the memory.
  virtual Result<void> let_reach(const Device& other) = 0;

 protected:
  explicit DeviceMemory(Device& device) : device_(device) {}
  Device& device_;
  CuDevicePointer address_ = 0;
  std::uint64_t bytes_ = 0;
};

// What another process needs to map the same memory: the descriptor, or the bytes of a handle.
struct DeviceExport {
  DeviceMechanism mechanism = DeviceMechanism::automatic;
  Fd descriptor = {};
  std::array<std::uint8_t, 64> handle{};
  std::uint64_t allocation_bytes = 0;
  std::uint64_t offset_bytes = 0;  // of the payload in the allocation
};

struct ExportedMemory {
  std::unique_ptr<DeviceMemory> memory;
  DeviceExport exported;
};

// What a descriptor is to the kernel. All exports of one driver are alike.
struct DescriptorKind {
  mode_t type = 0;
  dev_t device = 0;  // of a device file; else of its file system
  bool operator==(const DescriptorKind&) const = default;
};
Result<DescriptorKind> descriptor_kind(Os& os, int fd);

// Errors: wrong_device where `device` cannot map memory of `owner`.
Result<void> check_reach(const Device& device, const Device& owner);

// At least so many bytes, of undefined content, exported as a descriptor or a fabric handle.
// Errors: exhausted, with what the device has free.
Result<ExportedMemory> create_vmm(Device& device, std::uint64_t bytes, DeviceMechanism mechanism);

// Maps the memory behind a descriptor, which stays the caller's. `owner` is the device that the
// memory is on. Errors: wrong_device where `device` cannot reach it; as the driver says for a
// descriptor that is none of its exports.
Result<std::unique_ptr<DeviceMemory>> import_descriptor(Device& device, const Device& owner, int fd,
                                                        std::uint64_t allocation_bytes,
                                                        Access access);
Result<std::unique_ptr<DeviceMemory>> import_fabric(Device& device, const Device& owner,
                                                    const std::array<std::uint8_t, 64>& handle,
                                                    std::uint64_t allocation_bytes, Access access);

// The same memory, once it is full of zeros. Errors: timed_out at the deadline; then the memory is
// kept until the device is done with it (gpu/leftovers.h).
Result<std::unique_ptr<DeviceMemory>> filled_with_zeros(std::unique_ptr<DeviceMemory> memory,
                                                        Deadline deadline);

}  // namespace strata::inline v0_1::cuda
