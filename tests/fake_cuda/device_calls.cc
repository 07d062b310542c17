// The driver and its devices: what they are and can do.
#include <cstdio>
#include <cstring>

#include "tests/fake_cuda/devices.h"
#include "tests/fake_cuda/entry.h"
#include "tests/fake_cuda/memory.h"
#include "tests/fake_cuda/settings.h"
#include "tests/fake_cuda/state_directory.h"

using namespace strata::fake_cuda;

namespace {

struct ResultText {
  CuResult result;
  const char* name;
  const char* text;
};

constexpr ResultText kResults[] = {
    {kSuccess, "CUDA_SUCCESS", "no error"},
    {kInvalidValue, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {kNotInitialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {kDeinitialized, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
    {kStubLibrary, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {kNoDevice, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {kInvalidDevice, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {kMapFailed, "CUDA_ERROR_MAP_FAILED", "mapping of buffer object failed"},
    {kAlreadyMapped, "CUDA_ERROR_ALREADY_MAPPED", "resource already mapped"},
    {kEccUncorrectable, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {kInvalidHandle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {kIllegalState, "CUDA_ERROR_ILLEGAL_STATE",
     "the operation cannot be performed in the present state"},
    {kNotFound, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {kNotReady, "CUDA_ERROR_NOT_READY", "device not ready"},
    {kIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {kContextIsDestroyed, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {kHostMemoryAlreadyRegistered, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
     "part or all of the requested memory range is already mapped"},
    {kHostMemoryNotRegistered, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
     "pointer does not correspond to a registered memory region"},
    {kNotPermitted, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {kNotSupported, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {kSystemNotReady, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {kUnknown, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

const ResultText* find_text(CuResult result) {
  for (const ResultText& known : kResults)
    if (known.result == result) return &known;
  return nullptr;
}

// -1: this version knows no such attribute.
int attribute_of(int attribute, CuDevice device) {
  const auto given = settings().attributes.find(attribute);
  if (given != settings().attributes.end()) return given->second;
  constexpr int kLastAttribute = 150;
  switch (attribute) {
    case kAttributePciDomainId: return 0xFA4E;
    case kAttributePciBusId: return devices()[static_cast<std::size_t>(device)].number;
    case kAttributePciDeviceId: return 0;
    case kAttributeComputeCapabilityMajor: return 9;
    case kAttributeHandleTypeFabricSupported: return settings().has_fabric ? 1 : 0;
    case kAttributeHostNumaId: return -1;
    case kAttributeUnifiedAddressing:
    case kAttributeHostRegisterSupported:
    case kAttributeVirtualMemoryManagementSupported:
    case kAttributeHandleTypePosixFdSupported:
    case kAttributeReadOnlyHostRegisterSupported:
    case kAttributeCanUse64BitStreamMemOps: return 1;
    case kAttributeMemoryPoolsSupported:
    case kAttributeComputeCapabilityMinor: return 0;
    default: return attribute > 0 && attribute <= kLastAttribute ? 0 : INT32_MIN;
  }
}

CuResult copy_text(const std::string& text, char* to, int bytes) {
  if (!to || bytes <= 0) return kInvalidValue;
  std::snprintf(to, static_cast<std::size_t>(bytes), "%s", text.c_str());
  return kSuccess;
}

}  // namespace

CuResult cuInit(unsigned flags) {
  const Entry entry(CallName::cuInit, Entry::Early{});
  if (entry.result() != kSuccess) return entry.result();
  FAKE_CUDA_REQUIRE(flags == 0, kInvalidValue);
  FAKE_CUDA_REQUIRE(phase() != Phase::forked, kNotInitialized);
  if (phase() == Phase::started) return kSuccess;
  const std::lock_guard lock(driver_mutex());
  if (phase() == Phase::started) return kSuccess;
  FAKE_CUDA_REQUIRE(!devices().empty(), kNoDevice);
  FAKE_CUDA_REQUIRE(prepare_state_directory(settings().devices), kUnknown);
  for (const FakeDevice& device : devices())
    open_device_file(device.number);
  start();
  return kSuccess;
}

CuResult cuDriverGetVersion(int* version) {
  const Entry entry(CallName::cuDriverGetVersion, Entry::Early{});
  if (entry.result() != kSuccess) return entry.result();
  FAKE_CUDA_REQUIRE(version, kInvalidValue);
  *version = settings().version;
  return kSuccess;
}

CuResult cuGetErrorName(CuResult result, const char** name) {
  const Entry entry(CallName::cuGetErrorName, Entry::Early{});
  FAKE_CUDA_REQUIRE(name, kInvalidValue);
  const ResultText* const known = find_text(result);
  *name = known ? known->name : nullptr;
  return known ? kSuccess : kInvalidValue;
}

CuResult cuGetErrorString(CuResult result, const char** text) {
  const Entry entry(CallName::cuGetErrorString, Entry::Early{});
  FAKE_CUDA_REQUIRE(text, kInvalidValue);
  const ResultText* const known = find_text(result);
  *text = known ? known->text : nullptr;
  return known ? kSuccess : kInvalidValue;
}

CuResult cuDeviceGetCount(int* count) {
  FAKE_CUDA_ENTER(cuDeviceGetCount);
  FAKE_CUDA_REQUIRE(count, kInvalidValue);
  *count = static_cast<int>(devices().size());
  return kSuccess;
}

CuResult cuDeviceGet(CuDevice* device, int ordinal) {
  FAKE_CUDA_ENTER(cuDeviceGet);
  FAKE_CUDA_REQUIRE(device, kInvalidValue);
  FAKE_CUDA_REQUIRE(is_device(ordinal), kInvalidDevice);
  *device = ordinal;
  return kSuccess;
}

CuResult cuDeviceGetName(char* name, int bytes, CuDevice device) {
  FAKE_CUDA_ENTER(cuDeviceGetName);
  FAKE_CUDA_REQUIRE(name, kInvalidValue);
  FAKE_CUDA_REQUIRE(is_device(device), kInvalidDevice);
  return copy_text(devices()[static_cast<std::size_t>(device)].name, name, bytes);
}

CuResult cuDeviceTotalMem(std::size_t* bytes, CuDevice device) {
  FAKE_CUDA_ENTER(cuDeviceTotalMem);
  FAKE_CUDA_REQUIRE(bytes, kInvalidValue);
  FAKE_CUDA_REQUIRE(is_device(device), kInvalidDevice);
  *bytes = settings().device_bytes;
  return kSuccess;
}

CuResult cuDeviceGetAttribute(int* value, CuDeviceAttribute attribute, CuDevice device) {
  FAKE_CUDA_ENTER(cuDeviceGetAttribute);
  FAKE_CUDA_REQUIRE(value, kInvalidValue);
  FAKE_CUDA_REQUIRE(is_device(device), kInvalidDevice);
  const int found = attribute_of(attribute, device);
  FAKE_CUDA_REQUIRE(found != INT32_MIN, kInvalidValue);
  *value = found;
  return kSuccess;
}

CuResult cuDeviceGetUuid(CuUuid* uuid, CuDevice device) {
  FAKE_CUDA_ENTER(cuDeviceGetUuid);
  FAKE_CUDA_REQUIRE(uuid, kInvalidValue);
  FAKE_CUDA_REQUIRE(is_device(device), kInvalidDevice);
  *uuid = devices()[static_cast<std::size_t>(device)].uuid;
  return kSuccess;
}

CuResult cuDeviceGetPCIBusId(char* text, int bytes, CuDevice device) {
  FAKE_CUDA_ENTER(cuDeviceGetPCIBusId);
  FAKE_CUDA_REQUIRE(text, kInvalidValue);
  FAKE_CUDA_REQUIRE(is_device(device), kInvalidDevice);
  return copy_text(devices()[static_cast<std::size_t>(device)].pci_address, text, bytes);
}

CuResult cuDeviceCanAccessPeer(int* can, CuDevice device, CuDevice peer) {
  FAKE_CUDA_ENTER(cuDeviceCanAccessPeer);
  FAKE_CUDA_REQUIRE(can, kInvalidValue);
  FAKE_CUDA_REQUIRE(is_device(device) && is_device(peer), kInvalidDevice);
  *can = device != peer && can_reach(device, peer) ? 1 : 0;
  return kSuccess;
}

CuResult cuMemGetInfo(std::size_t* free, std::size_t* total) {
  FAKE_CUDA_ENTER(cuMemGetInfo);
  FAKE_CUDA_REQUIRE(free && total, kInvalidValue);
  FAKE_CUDA_NEED_CONTEXT();
  const MachineLock lock;
  const std::uint64_t used =
      count_used_bytes(devices()[static_cast<std::size_t>(current_device())].number);
  *total = settings().device_bytes;
  *free = used < *total ? *total - used : 0;
  return kSuccess;
}
