// What the driver says of an address.
#include <cstring>

#include "tests/fake_cuda/address_space.h"
#include "tests/fake_cuda/devices.h"
#include "tests/fake_cuda/entry.h"

using namespace strata::fake_cuda;

namespace {

constexpr unsigned kMemoryTypeHost = 1;    // CU_MEMORYTYPE_HOST
constexpr unsigned kMemoryTypeDevice = 2;  // CU_MEMORYTYPE_DEVICE

template <typename T>
CuResult put(void* value, T what) {
  std::memcpy(value, &what, sizeof what);
  return kSuccess;
}

CuResult describe(const Mapping& mapping, CuDevicePointer base, CuPointerAttribute attribute,
                  void* value) {
  const Trailer& facts = mapping.memory->facts();
  switch (attribute) {
    case kPointerContext: return put<void*>(value, nullptr);
    case kPointerMemoryType: return put(value, kMemoryTypeDevice);
    case kPointerBufferId: return put(value, facts.id);
    case kPointerIsManaged: return put(value, 0);
    case kPointerDeviceOrdinal: return put(value, find_device(facts.device));
    case kPointerIsLegacyIpcCapable: return put(value, mapping.origin == Origin::allocated ? 1 : 0);
    case kPointerRangeStart: return put(value, base);
    case kPointerRangeSize: return put<std::size_t>(value, mapping.bytes);
    case kPointerMapped: return put(value, 1);
    case kPointerAllowedHandleTypes: return put(value, std::uint64_t{facts.handle_types});
    case kPointerMempoolHandle: return put<void*>(value, nullptr);
    default: return kNotSupported;
  }
}

CuResult describe(const Pinned& pinned, CuDevicePointer base, CuPointerAttribute attribute,
                  void* value) {
  switch (attribute) {
    case kPointerMemoryType: return put(value, kMemoryTypeHost);
    case kPointerIsManaged:
    case kPointerIsLegacyIpcCapable: return put(value, 0);
    case kPointerDeviceOrdinal: return put(value, 0);
    case kPointerRangeStart: return put(value, base);
    case kPointerRangeSize: return put<std::size_t>(value, pinned.bytes);
    case kPointerMapped: return put(value, 1);
    case kPointerAllowedHandleTypes: return put(value, std::uint64_t{0});
    case kPointerContext:
    case kPointerMempoolHandle: return put<void*>(value, nullptr);
    default: return kNotSupported;
  }
}

// kInvalidValue for an address that the driver does not know.
CuResult describe(CuDevicePointer address, CuPointerAttribute attribute, void* value) {
  AddressSpace& space = address_space();
  if (const auto found = find_holder(space.mappings, address); found != space.mappings.end()) {
    return describe(found->second, found->first, attribute, value);
  }
  if (const auto found = find_holder(space.pinned, address); found != space.pinned.end()) {
    return describe(found->second, found->first, attribute, value);
  }
  return kInvalidValue;
}

std::size_t size_of(CuPointerAttribute attribute) {
  switch (attribute) {
    case kPointerMemoryType:
    case kPointerIsManaged:
    case kPointerDeviceOrdinal:
    case kPointerIsLegacyIpcCapable:
    case kPointerMapped: return sizeof(int);
    default: return sizeof(std::uint64_t);
  }
}

}  // namespace

CuResult cuMemGetAddressRange(CuDevicePointer* base, std::size_t* bytes, CuDevicePointer address) {
  FAKE_CUDA_ENTER(cuMemGetAddressRange);
  auto& mappings = address_space().mappings;
  const auto found = find_holder(mappings, address);
  FAKE_CUDA_REQUIRE(found != mappings.end(), kNotFound);
  if (base) *base = found->first;
  if (bytes) *bytes = found->second.bytes;
  return kSuccess;
}

CuResult cuPointerGetAttribute(void* value, CuPointerAttribute attribute, CuDevicePointer address) {
  FAKE_CUDA_ENTER(cuPointerGetAttribute);
  FAKE_CUDA_REQUIRE(value, kInvalidValue);
  return describe(address, attribute, value);
}

CuResult cuPointerGetAttributes(unsigned count, CuPointerAttribute* attributes, void** values,
                                CuDevicePointer address) {
  FAKE_CUDA_ENTER(cuPointerGetAttributes);
  FAKE_CUDA_REQUIRE(count == 0 || (attributes && values), kInvalidValue);
  for (unsigned i = 0; i < count; ++i) {
    const CuResult result = describe(address, attributes[i], values[i]);
    if (result == kSuccess) continue;
    FAKE_CUDA_REQUIRE(result == kInvalidValue, result);
    // Unlike the singular call: an unknown address has attributes, all of them null.
    std::memset(values[i], 0, size_of(attributes[i]));
  }
  return kSuccess;
}
