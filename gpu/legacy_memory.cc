#include "gpu/legacy_memory.h"

#include <fmt/format.h>

#include <cstring>
#include <map>
#include <mutex>

#include "gpu/driver.h"
#include "gpu/leftovers.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1::cuda {
namespace {

using HandleBytes = std::array<std::uint8_t, 64>;

struct Range {
  CuDevicePointer base = 0;
  std::uint64_t bytes = 0;
};

// What an allocation ends with in this process.
enum class Ending : std::uint8_t { free, close, keep };

// An allocation as this process has it; counted, since the driver refuses to open a handle in the
// process that exported it, where whoever attaches shares it instead.
struct LegacyAllocation {
  LegacyAllocation(Device& device, Range whole, CuDevicePointer own, Ending ending)
      : device(device), whole(whole), own(own), ending(ending) {}
  ~LegacyAllocation() {
    const Driver& driver = device.driver();
    if (ending == Ending::keep || !driver.is_usable()) return;
    give_back_or_keep(driver, whole.bytes, [device = &device, own = own, ending = ending] {
      const auto scope = device->enter();
      if (!scope) return scope.error().driver_result() == kDeinitialized;
      const DriverTable& call = device->driver().call();
      return is_given_back(ending == Ending::free ? call.cuMemFree(own)
                                                  : call.cuIpcCloseMemHandle(own));
    });
  }
  LegacyAllocation(const LegacyAllocation&) = delete;
  LegacyAllocation& operator=(const LegacyAllocation&) = delete;

  Device& device;
  const Range whole;
  const CuDevicePointer own;  // what this process was given: a part of the whole
  const Ending ending;
};

class OwnExports {
 public:
  void add(const HandleBytes& handle, std::weak_ptr<LegacyAllocation> allocation) {
    const std::lock_guard lock(mutex_);
    std::erase_if(exports_, [](const auto& each) { return each.second.expired(); });
    exports_[handle] = std::move(allocation);
  }
  std::shared_ptr<LegacyAllocation> find(const HandleBytes& handle) {
    const std::lock_guard lock(mutex_);
    const auto found = exports_.find(handle);
    return found == exports_.end() ? nullptr : found->second.lock();
  }

 private:
  std::mutex mutex_;
  std::map<HandleBytes, std::weak_ptr<LegacyAllocation>> exports_;
};

OwnExports& own_exports() {
  static auto& exports = *new OwnExports;
  return exports;
}

class LegacyMemory final : public DeviceMemory {
 public:
  explicit LegacyMemory(std::shared_ptr<LegacyAllocation> allocation)
      : DeviceMemory(allocation->device), allocation_(std::move(allocation)) {
    address_ = allocation_->whole.base;
    bytes_ = allocation_->whole.bytes;
  }

  Result<void> set_access(Access access) override {
    if (access == Access::read_write) return {};
    return fail(Code::unsupported,
                "memory behind an IPC handle is writable for all who open it: create it with the "
                "mechanism vmm-fd");
  }
  Result<void> let_reach(const Device& other) override {
    return fail(Code::unsupported,
                fmt::format("memory behind an IPC handle is open on {} alone, and not on {}",
                            device_.describe(), other.describe()));
  }

 private:
  std::shared_ptr<LegacyAllocation> allocation_;
};

// The allocation that `address` lies in.
Result<Range> allocation_of(const Driver& driver, CuDevicePointer address) {
  CuDevicePointer base = 0;
  std::size_t bytes = 0;
  STRATA_TRY(STRATA_CUDA(driver, cuMemGetAddressRange, &base, &bytes, address));
  return Range{base, bytes};
}

Result<ExportedMemory> export_legacy(std::shared_ptr<LegacyAllocation> allocation) {
  CuIpcMemHandle handle{};
  STRATA_TRY(STRATA_CUDA(allocation->device.driver(), cuIpcGetMemHandle, &handle, allocation->own));
  ExportedMemory result;
  result.exported.mechanism = DeviceMechanism::legacy_ipc;
  std::memcpy(result.exported.handle.data(), &handle, sizeof handle);
  result.exported.allocation_bytes = allocation->whole.bytes;
  result.exported.offset_bytes = allocation->own - allocation->whole.base;
  own_exports().add(result.exported.handle, allocation);
  result.memory = std::make_unique<LegacyMemory>(std::move(allocation));
  return result;
}

template <typename T>
bool get_attribute(const Driver& driver, CuPointerAttribute which, CuDevicePointer address,
                   T& value) {
  return driver.call().cuPointerGetAttribute(&value, which, address) == kSuccess;
}

// What memory is, before anybody exports it: the driver's own refusal says no more than
// "invalid value".
Result<void> check_exportable(const Driver& driver, CuDevicePointer address) {
  unsigned managed = 0;
  if (get_attribute(driver, kPointerIsManaged, address, managed) && managed != 0) {
    return fail(Code::unsupported,
                "managed memory cannot be shared between processes: allocate "
                "it with cudaMalloc, or create a cuda: segment");
  }
  int can_export = 1;
  if (get_attribute(driver, kPointerIsLegacyIpcCapable, address, can_export) && can_export == 0) {
    return fail(Code::unsupported,
                "memory of a pool (cudaMallocAsync) or of virtual memory management (PyTorch's "
                "expandable_segments) has no IPC handle: allocate it with cudaMalloc, or create a "
                "cuda: segment and copy");
  }
  return {};
}

}  // namespace

Result<Device*> device_of(const Devices& devices, CuDevicePointer address) {
  int ordinal = -1;
  const bool is_known = get_attribute(devices.driver(), kPointerDeviceOrdinal, address, ordinal);
  for (const auto& device : devices.all())
    if (is_known && device->number() == ordinal) return device.get();
  return fail(Code::invalid_argument,
              fmt::format("address {:#x} is no device memory of this process", address));
}

Result<ExportedMemory> create_legacy(Device& device, std::uint64_t bytes) {
  const Driver& driver = device.driver();
  STRATA_TRY(driver.require(DriverFeature::legacy_ipc));
  STRATA_ASSIGN(const ContextScope scope, device.enter());
  (void)retry_leftovers();
  CuDevicePointer address = 0;
  STRATA_TRY(STRATA_CUDA(driver, cuMemAlloc, &address, bytes));
  // Small allocations share a block, and the handle means all of it.
  const auto whole = allocation_of(driver, address);
  auto allocation = std::make_shared<LegacyAllocation>(
      device, whole.value_or(Range{address, bytes}), address, Ending::free);
  if (!whole) return unexpected(whole.error());
  return export_legacy(std::move(allocation));
}

Result<ExportedMemory> adopt_legacy(Device& device, CuDevicePointer address, std::uint64_t bytes) {
  const Driver& driver = device.driver();
  STRATA_TRY(driver.require(DriverFeature::legacy_ipc));
  STRATA_ASSIGN(const ContextScope scope, device.enter());
  STRATA_TRY(check_exportable(driver, address));
  STRATA_ASSIGN(const Range whole, allocation_of(driver, address));
  const std::uint64_t left_bytes = whole.bytes - (address - whole.base);
  if (bytes == 0 || bytes > left_bytes) {
    return fail(Code::invalid_argument,
                fmt::format("{} bytes from {:#x} do not lie within one allocation: the one that "
                            "this is in has {} bytes, {} of them from there on",
                            bytes, address, whole.bytes, left_bytes));
  }
  return export_legacy(std::make_shared<LegacyAllocation>(device, whole, address, Ending::keep));
}

Result<std::unique_ptr<DeviceMemory>> import_legacy(Device& device, const Device& owner,
                                                    const HandleBytes& handle,
                                                    std::uint64_t allocation_bytes) {
  const Driver& driver = device.driver();
  STRATA_TRY(driver.require(DriverFeature::legacy_ipc));
  STRATA_TRY(check_reach(device, owner));
  if (auto own = own_exports().find(handle)) {
    if (&own->device == &device) return std::make_unique<LegacyMemory>(std::move(own));
    return fail(Code::wrong_device,
                fmt::format("this process has exported it itself, by an IPC handle that only other "
                            "processes can open on {}: attach it on {}, or copy it",
                            device.describe(), own->device.describe()));
  }
  STRATA_ASSIGN(const ContextScope scope, device.enter());
  (void)retry_leftovers();
  CuIpcMemHandle copy{};
  std::memcpy(&copy, handle.data(), sizeof copy);
  CuDevicePointer base = 0;
  const auto opened = STRATA_CUDA(driver, cuIpcOpenMemHandle, &base, copy, kIpcLazyPeerAccess);
  if (!opened) {
    const int why = opened.error().driver_result();
    const bool is_gone = why == kMapFailed || why == kInvalidHandle;
    if (!is_gone) return unexpected(opened.error());
    return unexpected(Status(Code::failed_precondition,
                             "its exporter has ended or has freed it, and memory behind an IPC "
                             "handle ends then (" +
                                 opened.error().message() + ")")
                          .with_driver_result(why));
  }
  const auto whole = allocation_of(driver, base);
  auto allocation = std::make_shared<LegacyAllocation>(
      device, whole.value_or(Range{base, allocation_bytes}), base, Ending::close);
  if (!whole) return unexpected(whole.error());
  if (whole->bytes < allocation_bytes) {
    return fail(Code::corrupt,
                fmt::format("its header says {}, what was opened has {}",
                            format_bytes(allocation_bytes), format_bytes(whole->bytes)));
  }
  return std::make_unique<LegacyMemory>(std::move(allocation));
}

}  // namespace strata::inline v0_1::cuda
