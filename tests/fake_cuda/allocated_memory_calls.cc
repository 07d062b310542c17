// Memory of cuMemAlloc, and its sharing by IPC handles.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tests/fake_cuda/address_space.h"
#include "tests/fake_cuda/devices.h"
#include "tests/fake_cuda/entry.h"
#include "tests/fake_cuda/streams.h"

using namespace strata::fake_cuda;

namespace {

constexpr char kIpcMagic[] = "FAKEIPC1";

struct IpcHandle {
  char magic[8];
  std::int32_t pid;
  std::int32_t device_number;
  std::uint64_t id;
  std::uint64_t bytes;
};
static_assert(sizeof(IpcHandle) <= sizeof(CuIpcMemHandle));

std::uint64_t round_up(std::uint64_t bytes) {
  return (bytes + kGranularity - 1) / kGranularity * kGranularity;
}

// The memory gets addresses, which the current device may read and write.
CuResult map(std::shared_ptr<Memory> memory, std::uint64_t bytes, Origin origin,
             CuDevicePointer* address) {
  *address = reserve_addresses(memory->facts().bytes);
  if (*address == 0) return kOutOfMemory;
  Mapping mapping{bytes, std::move(memory), origin, 0, {}, 1};
  mapping.access[current_device()] = kAccessReadWrite;
  address_space().mappings.emplace(*address, std::move(mapping));
  return kSuccess;
}

// The mapping that begins at `address`, or end().
auto find_mapping(CuDevicePointer address, Origin origin) {
  auto& mappings = address_space().mappings;
  const auto found = mappings.find(address);
  return found != mappings.end() && found->second.origin == origin ? found : mappings.end();
}

void unmap(CuDevicePointer address) {
  address_space().mappings.erase(address);
  free_addresses(address);
}

bool is_gone(pid_t pid) { return ::kill(pid, 0) != 0 && errno == ESRCH; }

}  // namespace

CuResult cuMemAlloc(CuDevicePointer* address, std::size_t bytes) {
  FAKE_CUDA_ENTER(cuMemAlloc);
  FAKE_CUDA_REQUIRE(address && bytes != 0, kInvalidValue);
  FAKE_CUDA_NEED_CONTEXT();
  const FakeDevice& device = devices()[static_cast<std::size_t>(current_device())];
  Trailer wanted{};
  wanted.bytes = round_up(bytes);
  wanted.device = device.uuid;
  wanted.device_number = device.number;
  wanted.location_type = kLocationDevice;
  wanted.is_legacy = 1;
  CuResult why = kSuccess;
  std::shared_ptr<Memory> memory = Memory::create(wanted, &why);
  return memory ? map(std::move(memory), bytes, Origin::allocated, address) : why;
}

CuResult cuMemFree(CuDevicePointer address) {
  {
    FAKE_CUDA_ENTER(cuMemFree);
    FAKE_CUDA_NEED_CONTEXT();
    FAKE_CUDA_REQUIRE(find_mapping(address, Origin::allocated) != address_space().mappings.end(),
                      kInvalidValue);
  }
  wait_for_all_streams();
  const std::lock_guard lock(driver_mutex());
  const auto found = find_mapping(address, Origin::allocated);
  FAKE_CUDA_REQUIRE(found != address_space().mappings.end(), kInvalidValue);
  // Who has it open still reads what the next owner writes there.
  found->second.memory->poison();
  unmap(address);
  return kSuccess;
}

CuResult cuIpcGetMemHandle(CuIpcMemHandle* handle, CuDevicePointer address) {
  FAKE_CUDA_ENTER(cuIpcGetMemHandle);
  FAKE_CUDA_REQUIRE(handle, kInvalidValue);
  FAKE_CUDA_NEED_CONTEXT();
  auto& mappings = address_space().mappings;
  const auto found = find_holder(mappings, address);
  FAKE_CUDA_REQUIRE(found != mappings.end() && found->second.origin == Origin::allocated,
                    kInvalidValue);
  const Trailer& facts = found->second.memory->facts();
  IpcHandle made{{}, ::getpid(), facts.device_number, facts.id, found->second.bytes};
  std::memcpy(made.magic, kIpcMagic, sizeof made.magic);
  std::memset(handle, 0, sizeof *handle);
  std::memcpy(handle->reserved, &made, sizeof made);
  return kSuccess;
}

CuResult cuIpcOpenMemHandle(CuDevicePointer* address, CuIpcMemHandle handle, unsigned flags) {
  FAKE_CUDA_ENTER(cuIpcOpenMemHandle);
  FAKE_CUDA_REQUIRE(address && flags == kIpcLazyPeerAccess, kInvalidValue);
  FAKE_CUDA_NEED_CONTEXT();
  IpcHandle wanted{};
  std::memcpy(&wanted, handle.reserved, sizeof wanted);
  FAKE_CUDA_REQUIRE(std::memcmp(wanted.magic, kIpcMagic, sizeof wanted.magic) == 0, kInvalidValue);
  FAKE_CUDA_REQUIRE(wanted.pid != ::getpid(), kInvalidContext);
  for (auto& [mapped_at, mapping] : address_space().mappings) {
    if (mapping.origin != Origin::ipc || mapping.memory->facts().id != wanted.id) continue;
    // In a second context of the process the driver refuses.
    FAKE_CUDA_REQUIRE(mapping.access.contains(current_device()), kInvalidHandle);
    ++mapping.opened;
    *address = mapped_at;
    return kSuccess;
  }
  FAKE_CUDA_REQUIRE(!is_gone(wanted.pid), kMapFailed);
  std::shared_ptr<Memory> memory = Memory::find(wanted.device_number, wanted.id);
  FAKE_CUDA_REQUIRE(memory && memory->facts().is_legacy, kInvalidValue);
  FAKE_CUDA_REQUIRE(wanted.bytes != 0 && wanted.bytes <= memory->facts().bytes, kInvalidValue);
  const CuDevice owner = find_device(memory->facts().device);
  FAKE_CUDA_REQUIRE(owner >= 0 && can_reach(current_device(), owner), kInvalidDevice);
  return map(std::move(memory), wanted.bytes, Origin::ipc, address);
}

CuResult cuIpcCloseMemHandle(CuDevicePointer address) {
  {
    FAKE_CUDA_ENTER(cuIpcCloseMemHandle);
    FAKE_CUDA_NEED_CONTEXT();
    const auto found = find_mapping(address, Origin::ipc);
    FAKE_CUDA_REQUIRE(found != address_space().mappings.end(), kInvalidValue);
    if (--found->second.opened > 0) return kSuccess;
  }
  wait_for_all_streams();
  const std::lock_guard lock(driver_mutex());
  unmap(address);
  return kSuccess;
}
