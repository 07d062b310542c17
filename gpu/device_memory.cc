#include "gpu/device_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <vector>

#include "gpu/device_wait.h"
#include "gpu/driver.h"
#include "gpu/leftovers.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1::cuda {
namespace {

int access_flags(Access access) {
  return access == Access::read_only ? kAccessRead : kAccessReadWrite;
}

CuAllocationProperties properties_of(const Device& device, int handle_type) {
  CuAllocationProperties properties{};
  properties.type = kAllocationPinned;
  properties.requested_handle_types = handle_type;
  properties.location = {kLocationDevice, device.number()};
  return properties;
}

// Owns the driver's handle of an allocation, which is given back as soon as it is mapped: the
// mapping keeps the memory.
class AllocationHandle {
 public:
  explicit AllocationHandle(const Driver& driver) : driver_(driver) {}
  ~AllocationHandle() {
    if (handle_ == 0 || !driver_.is_usable()) return;
    give_back_or_keep(driver_, 0, [driver = &driver_, handle = handle_] {
      return is_given_back(driver->call().cuMemRelease(handle));
    });
  }
  AllocationHandle(const AllocationHandle&) = delete;
  AllocationHandle& operator=(const AllocationHandle&) = delete;

  CuAllocation* out() { return &handle_; }
  CuAllocation get() const { return handle_; }

 private:
  const Driver& driver_;
  CuAllocation handle_ = 0;
};

class VmmMemory final : public DeviceMemory {
 public:
  explicit VmmMemory(Device& device) : DeviceMemory(device) {}
  ~VmmMemory() override {
    const Driver& driver = device_.driver();
    if (address_ == 0 || !driver.is_usable()) return;
    give_back_or_keep(driver, bytes_,
                      [call = &driver.call(), address = address_, bytes = bytes_,
                       is_mapped = is_mapped_]() mutable {
                        // What is unmapped is not so again: the address alone is left.
                        if (is_mapped && !is_given_back(call->cuMemUnmap(address, bytes)))
                          return false;
                        is_mapped = false;
                        return is_given_back(call->cuMemAddressFree(address, bytes));
                      });
  }

  // Address space for exactly the allocation: more would be taken from the device's for nothing.
  Result<void> map(CuAllocation allocation, std::uint64_t bytes, Access access) {
    const Driver& driver = device_.driver();
    CuDevicePointer address = 0;
    STRATA_TRY(STRATA_CUDA(driver, cuMemAddressReserve, &address, bytes, 0, 0, 0));
    address_ = address;
    bytes_ = bytes;
    STRATA_TRY(STRATA_CUDA(driver, cuMemMap, address_, bytes_, 0, allocation, 0));
    is_mapped_ = true;
    return set_access(access);
  }

  Result<void> set_access(Access access) override {
    const std::lock_guard lock(mutex_);
    std::vector<CuAccess> wanted = {{{kLocationDevice, device_.number()}, access_flags(access)}};
    for (const CuDevice other : others_)
      wanted.push_back({{kLocationDevice, other}, access_flags(access)});
    STRATA_TRY(STRATA_CUDA(device_.driver(), cuMemSetAccess, address_, bytes_, wanted.data(),
                           wanted.size()));
    access_ = access;
    return {};
  }

  Result<void> let_reach(const Device& other) override {
    const std::lock_guard lock(mutex_);
    const CuDevice number = other.number();
    const bool is_known = std::find(others_.begin(), others_.end(), number) != others_.end();
    if (is_known || number == device_.number()) return {};
    const CuAccess wanted{{kLocationDevice, number}, access_flags(access_)};
    STRATA_TRY(STRATA_CUDA(device_.driver(), cuMemSetAccess, address_, bytes_, &wanted, 1));
    others_.push_back(number);
    return {};
  }

 private:
  bool is_mapped_ = false;
  std::mutex mutex_;  // of what follows
  Access access_ = Access::read_write;
  std::vector<CuDevice> others_;  // that may use it too
};

Result<std::uint64_t> granularity(const Device& device, const CuAllocationProperties& properties) {
  std::size_t bytes = 0;
  STRATA_TRY(STRATA_CUDA(device.driver(), cuMemGetAllocationGranularity, &bytes, &properties,
                         kGranularityMinimum));
  if (bytes == 0) return fail(Code::internal, "the driver names an allocation granularity of 0");
  return bytes;
}

// The driver only says that memory is out: a person needs to know how much there is.
Status explain_exhaustion(Device& device, std::uint64_t bytes, const Status& failure) {
  if (failure.code() != Code::exhausted) return failure;
  const auto free = device.free_bytes();
  return Status(Code::exhausted,
                fmt::format("{} do not fit on {}, which has {} free of {}; free some there "
                            "(strata gpu ls), or choose another device ({})",
                            format_bytes(bytes), device.describe(),
                            free ? format_bytes(*free) : "an unknown part",
                            format_bytes(device.total_bytes()), failure.message()))
      .with_driver_result(failure.driver_result());
}

Result<std::unique_ptr<DeviceMemory>> import_handle(Device& device, const Device& owner,
                                                    void* os_handle, int type,
                                                    std::uint64_t allocation_bytes, Access access) {
  const Driver& driver = device.driver();
  STRATA_TRY(driver.require(DriverFeature::virtual_memory));
  STRATA_TRY(check_reach(device, owner));
  STRATA_ASSIGN(const ContextScope scope, device.enter());
  (void)retry_leftovers();
  AllocationHandle allocation(driver);
  STRATA_TRY(
      STRATA_CUDA(driver, cuMemImportFromShareableHandle, allocation.out(), os_handle, type));
  auto memory = std::make_unique<VmmMemory>(device);
  STRATA_TRY(memory->map(allocation.get(), allocation_bytes, access));
  return memory;
}

}  // namespace

Result<void> check_reach(const Device& device, const Device& owner) {
  STRATA_ASSIGN(const bool can_reach, device.can_reach(owner));
  if (can_reach) return {};
  return fail(Code::wrong_device,
              fmt::format("the memory is on {}, which {} cannot reach: attach it on its own "
                          "device, or copy it",
                          owner.describe(), device.describe()));
}

Result<DescriptorKind> descriptor_kind(Os& os, int fd) {
  STRATA_ASSIGN(const struct stat facts, os.fstat(fd));
  const mode_t type = facts.st_mode & S_IFMT;
  const bool is_device = S_ISCHR(facts.st_mode) || S_ISBLK(facts.st_mode);
  return DescriptorKind{type, is_device ? facts.st_rdev : facts.st_dev};
}

Result<ExportedMemory> create_vmm(Device& device, std::uint64_t bytes, DeviceMechanism mechanism) {
  const Driver& driver = device.driver();
  STRATA_TRY(driver.require(DriverFeature::virtual_memory));
  const bool is_fabric = mechanism == DeviceMechanism::fabric;
  const int type = is_fabric ? kHandleTypeFabric : kHandleTypePosixFd;
  const CuAllocationProperties properties = properties_of(device, type);
  STRATA_ASSIGN(const ContextScope scope, device.enter());
  STRATA_ASSIGN(const std::uint64_t granule, granularity(device, properties));
  ExportedMemory result;
  result.exported.mechanism = mechanism;
  result.exported.allocation_bytes = align_up(bytes, granule);
  (void)retry_leftovers();
  AllocationHandle allocation(driver);
  const auto created = STRATA_CUDA(driver, cuMemCreate, allocation.out(),
                                   result.exported.allocation_bytes, &properties, 0);
  if (!created) {
    return unexpected(
        explain_exhaustion(device, result.exported.allocation_bytes, created.error()));
  }
  auto memory = std::make_unique<VmmMemory>(device);
  STRATA_TRY(memory->map(allocation.get(), result.exported.allocation_bytes, Access::read_write));
  if (is_fabric) {
    CuFabricHandle handle{};
    STRATA_TRY(
        STRATA_CUDA(driver, cuMemExportToShareableHandle, &handle, allocation.get(), type, 0));
    std::memcpy(result.exported.handle.data(), &handle, sizeof handle);
  } else {
    int fd = -1;
    STRATA_TRY(STRATA_CUDA(driver, cuMemExportToShareableHandle, &fd, allocation.get(), type, 0));
    result.exported.descriptor = Fd(fd);
  }
  result.memory = std::move(memory);
  return result;
}

Result<std::unique_ptr<DeviceMemory>> import_descriptor(Device& device, const Device& owner, int fd,
                                                        std::uint64_t allocation_bytes,
                                                        Access access) {
  // The driver takes the number itself in place of a pointer.
  void* const number = reinterpret_cast<void*>(static_cast<std::intptr_t>(fd));
  return import_handle(device, owner, number, kHandleTypePosixFd, allocation_bytes, access);
}

Result<std::unique_ptr<DeviceMemory>> import_fabric(Device& device, const Device& owner,
                                                    const std::array<std::uint8_t, 64>& handle,
                                                    std::uint64_t allocation_bytes, Access access) {
  CuFabricHandle copy{};
  std::memcpy(&copy, handle.data(), sizeof copy);
  return import_handle(device, owner, &copy, kHandleTypeFabric, allocation_bytes, access);
}

Result<std::unique_ptr<DeviceMemory>> filled_with_zeros(std::unique_ptr<DeviceMemory> memory,
                                                        Deadline deadline) {
  Device& device = memory->device();
  const Driver& driver = device.driver();
  STRATA_ASSIGN(const ContextScope scope, device.enter());
  // On a stream of its own, so that it waits for nothing that the caller has under way.
  CuStream stream = nullptr;
  STRATA_TRY(STRATA_CUDA(driver, cuStreamCreate, &stream, kStreamNonBlocking));
  auto filled = STRATA_CUDA(driver, cuMemsetD8Async, memory->address(), 0, memory->bytes(), stream);
  if (filled) filled = await_stream(device, stream, deadline, "zeroing new memory");
  if (!filled && filled.error().code() == Code::timed_out) {
    const std::uint64_t bytes = memory->bytes();
    keep_leftover(driver, bytes,
                  [&device, stream, kept = std::shared_ptr(std::move(memory))]() mutable {
                    const auto scope = device.enter();
                    if (!scope) return scope.error().driver_result() == kDeinitialized;
                    const DriverTable& call = device.driver().call();
                    if (call.cuStreamQuery(stream) == kNotReady) return false;
                    (void)call.cuStreamDestroy(stream);
                    kept.reset();
                    return true;
                  });
    return unexpected(filled.error());
  }
  (void)driver.call().cuStreamDestroy(stream);
  if (!filled) return unexpected(filled.error());
  return memory;
}

}  // namespace strata::inline v0_1::cuda
