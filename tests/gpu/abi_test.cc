// gpu/driver_abi.h says what cuda.h says. All of it is known when this compiles; it runs so that it
// is counted.
#include <cuda.h>
#include <cudaTypedefs.h>

#include <type_traits>

#include "gpu/driver_abi.h"
#include "tests/catch.h"

namespace strata::inline v0_1::cuda {
namespace {

template <typename T>
concept Complete = requires {
  sizeof(T);
};

// Whether the two are passed and read in the same way, whatever their names are.
template <typename Ours, typename Theirs>
constexpr bool has_same_shape() {
  if constexpr (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>) {
    using OurTarget = std::remove_pointer_t<Ours>;
    using TheirTarget = std::remove_pointer_t<Theirs>;
    if constexpr (std::is_const_v<OurTarget> != std::is_const_v<TheirTarget>) return false;
    if constexpr (std::is_void_v<OurTarget> || std::is_void_v<TheirTarget>) {
      return std::is_void_v<OurTarget> == std::is_void_v<TheirTarget>;
    } else if constexpr (!Complete<OurTarget> || !Complete<TheirTarget>) {
      return Complete<OurTarget> == Complete<TheirTarget>;
    } else {
      return has_same_shape<std::remove_cv_t<OurTarget>, std::remove_cv_t<TheirTarget>>();
    }
  } else if constexpr (std::is_class_v<Ours> || std::is_class_v<Theirs>) {
    return std::is_class_v<Ours> && std::is_class_v<Theirs> && sizeof(Ours) == sizeof(Theirs) &&
           alignof(Ours) == alignof(Theirs);
  } else {
    // Flags are enumerations there and integers here.
    const bool are_numbers = !std::is_pointer_v<Ours> && !std::is_pointer_v<Theirs>;
    return are_numbers && sizeof(Ours) == sizeof(Theirs);
  }
}

template <typename Ours, typename Theirs>
struct SameCall : std::false_type {};
template <typename Our, typename Their, typename... Ours, typename... Theirs>
requires(sizeof...(Ours) ==
         sizeof...(Theirs)) struct SameCall<Our (*)(Ours...), Their (*)(Theirs...)>
    : std::bool_constant<has_same_shape<Our, Their>() && (has_same_shape<Ours, Theirs>() && ...)> {
};

// The version that we ask for has this interface.
#define STRATA_CHECK_CALL(name, version, need, parameters)                             \
  static_assert(SameCall<decltype(DriverTable::name), PFN_##name##_v##version>::value, \
                #name " is declared otherwise in cudaTypedefs.h");
STRATA_CUDA_CALLS(STRATA_CHECK_CALL)
#undef STRATA_CHECK_CALL
static_assert(!SameCall<decltype(DriverTable::cuMemFree), PFN_cuMemAlloc_v3020>::value);

#define STRATA_SAME(ours, theirs) \
  static_assert(static_cast<long long>(ours) == static_cast<long long>(theirs))

STRATA_SAME(kSuccess, CUDA_SUCCESS);
STRATA_SAME(kInvalidValue, CUDA_ERROR_INVALID_VALUE);
STRATA_SAME(kOutOfMemory, CUDA_ERROR_OUT_OF_MEMORY);
STRATA_SAME(kNotInitialized, CUDA_ERROR_NOT_INITIALIZED);
STRATA_SAME(kDeinitialized, CUDA_ERROR_DEINITIALIZED);
STRATA_SAME(kStubLibrary, CUDA_ERROR_STUB_LIBRARY);
STRATA_SAME(kNoDevice, CUDA_ERROR_NO_DEVICE);
STRATA_SAME(kInvalidDevice, CUDA_ERROR_INVALID_DEVICE);
STRATA_SAME(kInvalidContext, CUDA_ERROR_INVALID_CONTEXT);
STRATA_SAME(kMapFailed, CUDA_ERROR_MAP_FAILED);
STRATA_SAME(kAlreadyMapped, CUDA_ERROR_ALREADY_MAPPED);
STRATA_SAME(kEccUncorrectable, CUDA_ERROR_ECC_UNCORRECTABLE);
STRATA_SAME(kInvalidHandle, CUDA_ERROR_INVALID_HANDLE);
STRATA_SAME(kIllegalState, CUDA_ERROR_ILLEGAL_STATE);
STRATA_SAME(kNotFound, CUDA_ERROR_NOT_FOUND);
STRATA_SAME(kNotReady, CUDA_ERROR_NOT_READY);
STRATA_SAME(kIllegalAddress, CUDA_ERROR_ILLEGAL_ADDRESS);
STRATA_SAME(kContextIsDestroyed, CUDA_ERROR_CONTEXT_IS_DESTROYED);
STRATA_SAME(kHostMemoryAlreadyRegistered, CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
STRATA_SAME(kHostMemoryNotRegistered, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
STRATA_SAME(kNotPermitted, CUDA_ERROR_NOT_PERMITTED);
STRATA_SAME(kNotSupported, CUDA_ERROR_NOT_SUPPORTED);
STRATA_SAME(kSystemNotReady, CUDA_ERROR_SYSTEM_NOT_READY);
STRATA_SAME(kUnknown, CUDA_ERROR_UNKNOWN);

STRATA_SAME(kAttributePciBusId, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
STRATA_SAME(kAttributePciDeviceId, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID);
STRATA_SAME(kAttributePciDomainId, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID);
STRATA_SAME(kAttributeUnifiedAddressing, CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING);
STRATA_SAME(kAttributeComputeCapabilityMajor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
STRATA_SAME(kAttributeComputeCapabilityMinor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
STRATA_SAME(kAttributeHostRegisterSupported, CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED);
STRATA_SAME(kAttributeVirtualMemoryManagementSupported,
            CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED);
STRATA_SAME(kAttributeHandleTypePosixFdSupported,
            CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED);
STRATA_SAME(kAttributeReadOnlyHostRegisterSupported,
            CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED);
STRATA_SAME(kAttributeMemoryPoolsSupported, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED);
STRATA_SAME(kAttributeCanUse64BitStreamMemOps, CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS);
STRATA_SAME(kAttributeHandleTypeFabricSupported, CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED);
STRATA_SAME(kAttributeHostNumaId, CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID);

STRATA_SAME(kPointerContext, CU_POINTER_ATTRIBUTE_CONTEXT);
STRATA_SAME(kPointerMemoryType, CU_POINTER_ATTRIBUTE_MEMORY_TYPE);
STRATA_SAME(kPointerBufferId, CU_POINTER_ATTRIBUTE_BUFFER_ID);
STRATA_SAME(kPointerIsManaged, CU_POINTER_ATTRIBUTE_IS_MANAGED);
STRATA_SAME(kPointerDeviceOrdinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL);
STRATA_SAME(kPointerIsLegacyIpcCapable, CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE);
STRATA_SAME(kPointerRangeStart, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR);
STRATA_SAME(kPointerRangeSize, CU_POINTER_ATTRIBUTE_RANGE_SIZE);
STRATA_SAME(kPointerMapped, CU_POINTER_ATTRIBUTE_MAPPED);
STRATA_SAME(kPointerAllowedHandleTypes, CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES);
STRATA_SAME(kPointerMempoolHandle, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE);

STRATA_SAME(kLocationDevice, CU_MEM_LOCATION_TYPE_DEVICE);
STRATA_SAME(kLocationHost, CU_MEM_LOCATION_TYPE_HOST);
STRATA_SAME(kLocationHostNuma, CU_MEM_LOCATION_TYPE_HOST_NUMA);
STRATA_SAME(kLocationHostNumaCurrent, CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT);
STRATA_SAME(kAllocationPinned, CU_MEM_ALLOCATION_TYPE_PINNED);
STRATA_SAME(kHandleTypeNone, CU_MEM_HANDLE_TYPE_NONE);
STRATA_SAME(kHandleTypePosixFd, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
STRATA_SAME(kHandleTypeFabric, CU_MEM_HANDLE_TYPE_FABRIC);
STRATA_SAME(kGranularityMinimum, CU_MEM_ALLOC_GRANULARITY_MINIMUM);
STRATA_SAME(kGranularityRecommended, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
STRATA_SAME(kAccessNone, CU_MEM_ACCESS_FLAGS_PROT_NONE);
STRATA_SAME(kAccessRead, CU_MEM_ACCESS_FLAGS_PROT_READ);
STRATA_SAME(kAccessReadWrite, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
STRATA_SAME(kIpcLazyPeerAccess, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
STRATA_SAME(kStreamNonBlocking, CU_STREAM_NON_BLOCKING);
STRATA_SAME(kEventDisableTiming, CU_EVENT_DISABLE_TIMING);
STRATA_SAME(kHostRegisterPortable, CU_MEMHOSTREGISTER_PORTABLE);
STRATA_SAME(kHostRegisterDeviceMap, CU_MEMHOSTREGISTER_DEVICEMAP);
STRATA_SAME(kHostRegisterReadOnly, CU_MEMHOSTREGISTER_READ_ONLY);
STRATA_SAME(kWaitValueGeq, CU_STREAM_WAIT_VALUE_GEQ);
STRATA_SAME(kWriteValueDefault, CU_STREAM_WRITE_VALUE_DEFAULT);
STRATA_SAME(kProcAddressLegacyStream, CU_GET_PROC_ADDRESS_LEGACY_STREAM);

#define STRATA_SAME_MEMBER(ours, our_member, theirs, their_member)              \
  static_assert(offsetof(ours, our_member) == offsetof(theirs, their_member) && \
                sizeof(ours::our_member) == sizeof(theirs::their_member))

static_assert(sizeof(CuUuid) == sizeof(CUuuid));
static_assert(sizeof(CuIpcMemHandle) == sizeof(CUipcMemHandle));
static_assert(sizeof(CuFabricHandle) == sizeof(CUmemFabricHandle));
static_assert(sizeof(CuLocation) == sizeof(CUmemLocation));
STRATA_SAME_MEMBER(CuLocation, type, CUmemLocation, type);
STRATA_SAME_MEMBER(CuLocation, id, CUmemLocation, id);
static_assert(sizeof(CuAccess) == sizeof(CUmemAccessDesc));
STRATA_SAME_MEMBER(CuAccess, location, CUmemAccessDesc, location);
STRATA_SAME_MEMBER(CuAccess, flags, CUmemAccessDesc, flags);
static_assert(sizeof(CuAllocationProperties) == sizeof(CUmemAllocationProp));
STRATA_SAME_MEMBER(CuAllocationProperties, type, CUmemAllocationProp, type);
STRATA_SAME_MEMBER(CuAllocationProperties, requested_handle_types, CUmemAllocationProp,
                   requestedHandleTypes);
STRATA_SAME_MEMBER(CuAllocationProperties, location, CUmemAllocationProp, location);
STRATA_SAME_MEMBER(CuAllocationProperties, win32_handle_metadata, CUmemAllocationProp,
                   win32HandleMetaData);
STRATA_SAME_MEMBER(CuAllocationProperties, flags, CUmemAllocationProp, allocFlags);
using TheirFlags = decltype(CUmemAllocationProp::allocFlags);
STRATA_SAME_MEMBER(CuAllocationFlags, compression_type, TheirFlags, compressionType);
STRATA_SAME_MEMBER(CuAllocationFlags, is_rdma_capable, TheirFlags, gpuDirectRDMACapable);
STRATA_SAME_MEMBER(CuAllocationFlags, usage, TheirFlags, usage);

TEST_CASE("our_declarations_of_the_driver_are_those_of_the_toolkit") {
  SUCCEED("compiled with cuda.h " << CUDA_VERSION);
}

}  // namespace
}  // namespace strata::inline v0_1::cuda
