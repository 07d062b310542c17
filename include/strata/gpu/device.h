// The devices that the driver of this process shows, and their primary contexts.
//
//     STRATA_ASSIGN(const std::shared_ptr<Devices> devices, Devices::load({}));
//     STRATA_ASSIGN(Device* const device, devices->find("0"));
//     STRATA_ASSIGN(const ContextScope scope, device->enter());
//
//   Threads:  any.
//   Lifetime: a Device lives as long as its Devices. The primary context of a device is kept from
//             the first enter() on: it is the one that the runtime API uses too.
//   Errors:   no_driver, no_device as Driver::load; not_found where no device is meant by a text.
//   Cost:     load: a few calls of the driver for each device, once; enter: two calls.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "strata/base/result.h"
#include "strata/gpu/cuda_types.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::cuda {

class Driver;
enum CuDeviceAttribute : int;

using DeviceUuid = std::array<std::uint8_t, 16>;

// "GPU-12345678-…", as nvidia-smi prints it.
std::string device_uuid_text(const DeviceUuid& uuid);
// Errors: invalid_argument for what is neither "GPU-…" nor "MIG-…" nor a bare UUID.
Result<DeviceUuid> parse_device_uuid(std::string_view text);

// Makes a context current in this thread, and what was current before it at its end.
class ContextScope {
 public:
  ContextScope(ContextScope&& other) noexcept : driver_(std::exchange(other.driver_, nullptr)) {}
  ContextScope& operator=(ContextScope&&) = delete;
  ~ContextScope();

 private:
  friend class Device;
  explicit ContextScope(const Driver& driver) : driver_(&driver) {}
  const Driver* driver_;
};

class Device {
 public:
  Device(const Driver& driver, int ordinal) : driver_(driver), ordinal_(ordinal) {}
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const Driver& driver() const { return driver_; }
  int ordinal() const { return ordinal_; }
  CuDevice number() const { return number_; }
  const DeviceUuid& uuid() const { return uuid_; }
  const std::string& name() const { return name_; }
  const std::string& pci_address() const { return pci_address_; }  // "0000:3b:00.0"
  std::uint64_t total_bytes() const { return total_bytes_; }
  // "device 0 (NVIDIA H100, GPU-…)", for messages.
  std::string describe() const;

  Result<int> attribute(CuDeviceAttribute attribute) const;
  // Whether memory of `owner` can be mapped into this device.
  Result<bool> can_reach(const Device& owner) const;
  // Free bytes at this moment.
  Result<std::uint64_t> free_bytes();
  // Makes the primary context current in this thread.
  Result<ContextScope> enter();

 private:
  friend class Devices;
  Result<void> read_facts();

  const Driver& driver_;
  int ordinal_;
  CuDevice number_ = 0;
  DeviceUuid uuid_{};
  std::string name_;
  std::string pci_address_;
  std::uint64_t total_bytes_ = 0;
  std::mutex mutex_;
  CuContext context_ = nullptr;
};

class Devices {
 public:
  // Those of the driver in `library` (Driver::load), the same ones for all who ask.
  static Result<std::shared_ptr<Devices>> load(const std::string& library);

  const Driver& driver() const { return *driver_; }
  const std::vector<std::unique_ptr<Device>>& all() const { return devices_; }
  // By number or UUID; empty: that of the thread's current context, or device 0.
  // Errors: no_device, with those that there are; invalid_argument.
  Result<Device*> find(std::string_view text) const;
  // Null where this process does not see it.
  Device* find(const DeviceUuid& uuid) const;

 private:
  explicit Devices(std::shared_ptr<const Driver> driver) : driver_(std::move(driver)) {}

  std::shared_ptr<const Driver> driver_;
  std::vector<std::unique_ptr<Device>> devices_;
};

}  // namespace strata::inline v0_1::cuda
#pragma GCC visibility pop
