// Allocations, addresses, and the mappings of one at the other.
#include <fcntl.h>

#include <cstring>
#include <map>

#include "tests/fake_cuda/address_space.h"
#include "tests/fake_cuda/devices.h"
#include "tests/fake_cuda/entry.h"
#include "tests/fake_cuda/settings.h"
#include "tests/fake_cuda/streams.h"

using namespace strata::fake_cuda;

namespace {

struct Handle {
  std::shared_ptr<Memory> memory;
  int held;
};

std::map<CuAllocation, Handle>& handles() {
  static auto& all = *new std::map<CuAllocation, Handle>;
  return all;
}

CuAllocation add_handle(std::shared_ptr<Memory> memory) {
  static CuAllocation next = 0x1000;
  const CuAllocation handle = next++;
  handles().emplace(handle, Handle{std::move(memory), 1});
  return handle;
}

bool is_multiple(std::uint64_t value) { return value % kGranularity == 0; }

CuResult check_properties(const CuAllocationProperties& wanted) {
  if (wanted.type != kAllocationPinned) return kInvalidValue;
  const int types = wanted.requested_handle_types;
  if ((types & ~(kHandleTypePosixFd | kHandleTypeFabric)) != 0) return kInvalidValue;
  switch (wanted.location.type) {
    case kLocationDevice: return is_device(wanted.location.id) ? kSuccess : kInvalidValue;
    case kLocationHost: return types != 0 ? kInvalidValue : kSuccess;
    case kLocationHostNuma: return wanted.location.id < 0 ? kInvalidValue : kSuccess;
    default: return kInvalidValue;
  }
}

// Whether mappings fill exactly these addresses; calls `visit(iterator)` for each if so.
template <typename Visit>
bool for_each_mapping(CuDevicePointer address, std::uint64_t bytes, Visit visit) {
  auto& mappings = address_space().mappings;
  std::uint64_t covered = 0;
  for (auto at = mappings.find(address); covered < bytes; at = mappings.find(address + covered)) {
    if (at == mappings.end() || at->second.origin != Origin::vmm) return false;
    covered += at->second.bytes;
  }
  if (bytes == 0 || covered != bytes) return false;
  for (auto at = mappings.find(address); at != mappings.end() && at->first < address + bytes;) {
    visit(at++);
  }
  return true;
}

}  // namespace

CuResult cuMemGetAllocationGranularity(std::size_t* bytes, const CuAllocationProperties*,
                                       int flags) {
  FAKE_CUDA_ENTER(cuMemGetAllocationGranularity);
  FAKE_CUDA_REQUIRE(bytes, kInvalidValue);
  FAKE_CUDA_REQUIRE(flags == kGranularityMinimum || flags == kGranularityRecommended,
                    kInvalidValue);
  *bytes = kGranularity;
  return kSuccess;
}

CuResult cuMemCreate(CuAllocation* allocation, std::size_t bytes,
                     const CuAllocationProperties* properties, unsigned long long flags) {
  FAKE_CUDA_ENTER(cuMemCreate);
  FAKE_CUDA_REQUIRE(allocation && properties && flags == 0, kInvalidValue);
  FAKE_CUDA_REQUIRE(bytes != 0 && is_multiple(bytes), kInvalidValue);
  if (const CuResult why = check_properties(*properties); why != kSuccess) return why;
  const bool is_fabric = (properties->requested_handle_types & kHandleTypeFabric) != 0;
  FAKE_CUDA_REQUIRE(!is_fabric || settings().has_fabric, kNotPermitted);
  Trailer wanted{};
  wanted.bytes = bytes;
  wanted.device_number = kNoDeviceFile;
  if (properties->location.type == kLocationDevice) {
    const FakeDevice& device = devices()[static_cast<std::size_t>(properties->location.id)];
    wanted.device = device.uuid;
    wanted.device_number = device.number;
  }
  wanted.location_type = properties->location.type;
  wanted.location_id = properties->location.id;
  wanted.handle_types = static_cast<std::uint32_t>(properties->requested_handle_types);
  CuResult why = kSuccess;
  std::shared_ptr<Memory> memory = Memory::create(wanted, &why);
  if (!memory) return why;
  *allocation = add_handle(std::move(memory));
  return kSuccess;
}

CuResult cuMemRelease(CuAllocation allocation) {
  FAKE_CUDA_ENTER(cuMemRelease);
  const auto found = handles().find(allocation);
  FAKE_CUDA_REQUIRE(found != handles().end(), kInvalidValue);
  if (--found->second.held == 0) handles().erase(found);
  return kSuccess;
}

CuResult cuMemAddressReserve(CuDevicePointer* address, std::size_t bytes, std::size_t alignment,
                             CuDevicePointer, unsigned long long flags) {
  FAKE_CUDA_ENTER(cuMemAddressReserve);
  FAKE_CUDA_REQUIRE(address && flags == 0, kInvalidValue);
  FAKE_CUDA_REQUIRE(bytes != 0 && (alignment & (alignment - 1)) == 0, kOutOfMemory);
  FAKE_CUDA_REQUIRE(alignment <= kGranularity, kOutOfMemory);
  FAKE_CUDA_REQUIRE(bytes % 4096 == 0, kOutOfMemory);
  FAKE_CUDA_REQUIRE(is_multiple(bytes), kInvalidValue);
  *address = reserve_addresses(bytes);
  return *address ? kSuccess : kOutOfMemory;
}

CuResult cuMemAddressFree(CuDevicePointer address, std::size_t bytes) {
  FAKE_CUDA_ENTER(cuMemAddressFree);
  AddressSpace& space = address_space();
  const auto found = space.reservations.find(address);
  FAKE_CUDA_REQUIRE(found != space.reservations.end() && found->second == bytes, kInvalidValue);
  FAKE_CUDA_REQUIRE(!overlaps(space.mappings, address, bytes), kInvalidValue);
  free_addresses(address);
  return kSuccess;
}

CuResult cuMemMap(CuDevicePointer address, std::size_t bytes, std::size_t offset,
                  CuAllocation allocation, unsigned long long flags) {
  FAKE_CUDA_ENTER(cuMemMap);
  AddressSpace& space = address_space();
  const auto handle = handles().find(allocation);
  FAKE_CUDA_REQUIRE(handle != handles().end() && offset == 0 && flags == 0, kInvalidValue);
  FAKE_CUDA_REQUIRE(bytes != 0 && is_multiple(bytes) && is_multiple(address), kInvalidValue);
  FAKE_CUDA_REQUIRE(bytes <= handle->second.memory->facts().bytes, kInvalidValue);
  const auto reservation = find_holder(space.reservations, address);
  FAKE_CUDA_REQUIRE(reservation != space.reservations.end(), kInvalidValue);
  FAKE_CUDA_REQUIRE(bytes <= reservation->second - (address - reservation->first), kInvalidValue);
  FAKE_CUDA_REQUIRE(!overlaps(space.mappings, address, bytes), kInvalidValue);
  space.mappings.emplace(address,
                         Mapping{bytes, handle->second.memory, Origin::vmm, allocation, {}, 1});
  return kSuccess;
}

CuResult cuMemUnmap(CuDevicePointer address, std::size_t bytes) {
  {
    FAKE_CUDA_ENTER(cuMemUnmap);
    FAKE_CUDA_REQUIRE(for_each_mapping(address, bytes, [](auto) {}), kInvalidValue);
  }
  wait_for_all_streams();
  const std::lock_guard lock(driver_mutex());
  const bool is_mapped = for_each_mapping(
      address, bytes, [](auto mapping) { address_space().mappings.erase(mapping); });
  return is_mapped ? kSuccess : kInvalidValue;
}

CuResult cuMemSetAccess(CuDevicePointer address, std::size_t bytes, const CuAccess* access,
                        std::size_t count) {
  FAKE_CUDA_ENTER(cuMemSetAccess);
  FAKE_CUDA_REQUIRE(access && count != 0, kInvalidValue);
  FAKE_CUDA_REQUIRE(for_each_mapping(address, bytes, [](auto) {}), kInvalidValue);
  const Trailer& facts = address_space().mappings.at(address).memory->facts();
  const CuDevice owner = find_device(facts.device);
  for (std::size_t i = 0; i < count; ++i) {
    const int flags = access[i].flags;
    FAKE_CUDA_REQUIRE(flags == kAccessNone || flags == kAccessRead || flags == kAccessReadWrite,
                      kInvalidValue);
    FAKE_CUDA_REQUIRE(access[i].location.type == kLocationDevice, kInvalidValue);
    FAKE_CUDA_REQUIRE(is_device(access[i].location.id), kInvalidValue);
    const bool is_near = facts.device_number == kNoDeviceFile ||
                         (owner >= 0 && can_reach(access[i].location.id, owner));
    FAKE_CUDA_REQUIRE(is_near, kInvalidDevice);
  }
  for_each_mapping(address, bytes, [&](auto mapping) {
    for (std::size_t i = 0; i < count; ++i) {
      mapping->second.access[access[i].location.id] = access[i].flags;
    }
  });
  return kSuccess;
}

CuResult cuMemExportToShareableHandle(void* handle, CuAllocation allocation, int type,
                                      unsigned long long flags) {
  FAKE_CUDA_ENTER(cuMemExportToShareableHandle);
  FAKE_CUDA_REQUIRE(handle && flags == 0, kInvalidValue);
  const auto found = handles().find(allocation);
  FAKE_CUDA_REQUIRE(found != handles().end(), kInvalidValue);
  const Memory& memory = *found->second.memory;
  FAKE_CUDA_REQUIRE(type == kHandleTypePosixFd || type == kHandleTypeFabric, kInvalidValue);
  FAKE_CUDA_REQUIRE((memory.facts().handle_types & static_cast<unsigned>(type)) != 0,
                    kInvalidValue);
  if (type == kHandleTypeFabric) {
    CuFabricHandle fabric{};
    std::memcpy(fabric.data, &memory.facts(), sizeof fabric.data);
    std::memcpy(handle, &fabric, sizeof fabric);
    return kSuccess;
  }
  const int fd = ::fcntl(memory.fd(), F_DUPFD_CLOEXEC, 3);
  FAKE_CUDA_REQUIRE(fd >= 0, kUnknown);
  std::memcpy(handle, &fd, sizeof fd);
  return kSuccess;
}

CuResult cuMemImportFromShareableHandle(CuAllocation* allocation, void* handle, int type) {
  FAKE_CUDA_ENTER(cuMemImportFromShareableHandle);
  FAKE_CUDA_REQUIRE(allocation, kInvalidValue);
  FAKE_CUDA_REQUIRE(type == kHandleTypePosixFd || type == kHandleTypeFabric, kInvalidValue);
  std::shared_ptr<Memory> memory;
  if (type == kHandleTypeFabric) {
    FAKE_CUDA_REQUIRE(settings().has_fabric, kNotPermitted);
    FAKE_CUDA_REQUIRE(handle, kInvalidValue);
    Trailer facts{};
    std::memcpy(static_cast<void*>(&facts), handle, sizeof(CuFabricHandle));
    memory = Memory::find(facts.device_number, facts.id);
  } else {
    memory = Memory::adopt(static_cast<int>(reinterpret_cast<std::intptr_t>(handle)));
  }
  FAKE_CUDA_REQUIRE(memory, kInvalidValue);
  const Trailer& facts = memory->facts();
  FAKE_CUDA_REQUIRE((facts.handle_types & static_cast<unsigned>(type)) != 0, kInvalidValue);
  FAKE_CUDA_REQUIRE(facts.device_number == kNoDeviceFile || find_device(facts.device) >= 0,
                    kNotSupported);
  *allocation = add_handle(std::move(memory));
  return kSuccess;
}

CuResult cuMemRetainAllocationHandle(CuAllocation* allocation, void* address) {
  FAKE_CUDA_ENTER(cuMemRetainAllocationHandle);
  FAKE_CUDA_REQUIRE(allocation, kInvalidValue);
  auto& mappings = address_space().mappings;
  const auto found = find_holder(mappings, reinterpret_cast<CuDevicePointer>(address));
  FAKE_CUDA_REQUIRE(found != mappings.end() && found->second.origin == Origin::vmm, kInvalidValue);
  const CuAllocation handle = found->second.handle;
  ++handles().try_emplace(handle, Handle{found->second.memory, 0}).first->second.held;
  *allocation = handle;
  return kSuccess;
}

CuResult cuMemGetAllocationPropertiesFromHandle(CuAllocationProperties* properties,
                                                CuAllocation allocation) {
  FAKE_CUDA_ENTER(cuMemGetAllocationPropertiesFromHandle);
  FAKE_CUDA_REQUIRE(properties, kInvalidValue);
  const auto found = handles().find(allocation);
  FAKE_CUDA_REQUIRE(found != handles().end(), kInvalidValue);
  const Trailer& facts = found->second.memory->facts();
  *properties = {};
  properties->type = kAllocationPinned;
  properties->requested_handle_types = static_cast<int>(facts.handle_types);
  properties->location.type = static_cast<CuLocationType>(facts.location_type);
  properties->location.id =
      facts.device_number == kNoDeviceFile ? facts.location_id : find_device(facts.device);
  return kSuccess;
}
