// The part of the CUDA driver's binary interface that Strata uses, declared here so that no build
// needs a toolkit and no binary needs a driver. tests/gpu/abi_test compares it with cuda.h where
// one is found.
//   Threads:  declarations only.
//   Source:   cuda.h 12.0 to 13.0; the version of each call is that of cudaTypedefs.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "strata/gpu/cuda_types.h"

namespace strata::inline v0_1::cuda {

// CUresult. Others come too: the driver is asked for their names.
enum CuResult : int {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kNotInitialized = 3,
  kDeinitialized = 4,
  kStubLibrary = 34,
  kNoDevice = 100,
  kInvalidDevice = 101,
  kInvalidContext = 201,
  kMapFailed = 205,
  kAlreadyMapped = 208,
  kEccUncorrectable = 214,
  kInvalidHandle = 400,
  kIllegalState = 401,
  kNotFound = 500,
  kNotReady = 600,
  kIllegalAddress = 700,
  kContextIsDestroyed = 709,
  kHostMemoryAlreadyRegistered = 712,
  kHostMemoryNotRegistered = 713,
  kNotPermitted = 800,
  kNotSupported = 801,
  kSystemNotReady = 802,
  kUnknown = 999,
};

using CuAllocation = std::uint64_t;  // CUmemGenericAllocationHandle

struct CuUuid {
  std::uint8_t bytes[16];
};
struct CuIpcMemHandle {
  char reserved[64];
};
struct CuFabricHandle {
  unsigned char data[64];
};

// CUdevice_attribute
enum CuDeviceAttribute : int {
  kAttributePciBusId = 33,
  kAttributePciDeviceId = 34,
  kAttributeUnifiedAddressing = 41,
  kAttributePciDomainId = 50,
  kAttributeComputeCapabilityMajor = 75,
  kAttributeComputeCapabilityMinor = 76,
  kAttributeHostRegisterSupported = 99,
  kAttributeVirtualMemoryManagementSupported = 102,
  kAttributeHandleTypePosixFdSupported = 103,
  kAttributeReadOnlyHostRegisterSupported = 113,
  kAttributeMemoryPoolsSupported = 115,
  kAttributeCanUse64BitStreamMemOps = 122,
  kAttributeHandleTypeFabricSupported = 128,
  kAttributeHostNumaId = 134,
};

// CUpointer_attribute
enum CuPointerAttribute : int {
  kPointerContext = 1,
  kPointerMemoryType = 2,
  kPointerBufferId = 7,
  kPointerIsManaged = 8,
  kPointerDeviceOrdinal = 9,
  kPointerIsLegacyIpcCapable = 10,
  kPointerRangeStart = 11,
  kPointerRangeSize = 12,
  kPointerMapped = 13,
  kPointerAllowedHandleTypes = 14,
  kPointerMempoolHandle = 17,
};

// CUmemLocationType
enum CuLocationType : int {
  kLocationDevice = 1,
  kLocationHost = 2,
  kLocationHostNuma = 3,
  kLocationHostNumaCurrent = 4,
};
struct CuLocation {
  CuLocationType type;
  int id;
};

inline constexpr int kAllocationPinned = 1;    // CU_MEM_ALLOCATION_TYPE_PINNED
inline constexpr int kHandleTypeNone = 0;      // CUmemAllocationHandleType
inline constexpr int kHandleTypePosixFd = 1;   // CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
inline constexpr int kHandleTypeFabric = 8;    // CU_MEM_HANDLE_TYPE_FABRIC
inline constexpr int kGranularityMinimum = 0;  // CUmemAllocationGranularity_flags
inline constexpr int kGranularityRecommended = 1;
inline constexpr int kAccessNone = 0;  // CUmemAccess_flags
inline constexpr int kAccessRead = 1;
inline constexpr int kAccessReadWrite = 3;
inline constexpr unsigned kIpcLazyPeerAccess = 1;
inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr unsigned kEventDisableTiming = 2;
inline constexpr unsigned kHostRegisterPortable = 1;
inline constexpr unsigned kHostRegisterDeviceMap = 2;
inline constexpr unsigned kHostRegisterReadOnly = 8;
inline constexpr unsigned kWaitValueGeq = 0;
inline constexpr unsigned kWriteValueDefault = 0;
inline constexpr std::uint64_t kProcAddressLegacyStream = 1;

struct CuAllocationFlags {
  unsigned char compression_type;
  unsigned char is_rdma_capable;
  unsigned short usage;
  unsigned char reserved[4];
};
struct CuAllocationProperties {  // CUmemAllocationProp
  int type;
  int requested_handle_types;
  CuLocation location;
  void* win32_handle_metadata;
  CuAllocationFlags flags;
};
struct CuAccess {  // CUmemAccessDesc
  CuLocation location;
  int flags;
};

}  // namespace strata::inline v0_1::cuda

// Every call: its name without version suffix, the version of the interface that is declared here,
// whether the driver table is of use without it, and its parameters.
#define STRATA_CUDA_CALLS(X)                                                                    \
  X(cuInit, 2000, required, (unsigned flags))                                                   \
  X(cuDriverGetVersion, 2020, required, (int* version))                                         \
  X(cuGetErrorName, 6000, required, (CuResult result, const char** name))                       \
  X(cuGetErrorString, 6000, required, (CuResult result, const char** text))                     \
  X(cuDeviceGetCount, 2000, required, (int* count))                                             \
  X(cuDeviceGet, 2000, required, (CuDevice * device, int ordinal))                              \
  X(cuDeviceGetName, 2000, required, (char* name, int bytes, CuDevice device))                  \
  X(cuDeviceTotalMem, 3020, required, (std::size_t * bytes, CuDevice device))                   \
  X(cuDeviceGetAttribute, 2000, required,                                                       \
    (int* value, CuDeviceAttribute attribute, CuDevice device))                                 \
  X(cuDeviceGetUuid, 11040, required, (CuUuid * uuid, CuDevice device))                         \
  X(cuDeviceGetPCIBusId, 4010, required, (char* text, int bytes, CuDevice device))              \
  X(cuDeviceCanAccessPeer, 4000, optional, (int* can, CuDevice device, CuDevice peer))          \
  X(cuDevicePrimaryCtxRetain, 7000, required, (CuContext * context, CuDevice device))           \
  X(cuDevicePrimaryCtxRelease, 11000, required, (CuDevice device))                              \
  X(cuCtxPushCurrent, 4000, required, (CuContext context))                                      \
  X(cuCtxPopCurrent, 4000, required, (CuContext * context))                                     \
  X(cuCtxGetCurrent, 4000, required, (CuContext * context))                                     \
  X(cuCtxGetDevice, 2000, required, (CuDevice * device))                                        \
  X(cuCtxSynchronize, 2000, required, ())                                                       \
  X(cuMemGetInfo, 3020, required, (std::size_t * free, std::size_t * total))                    \
  X(cuMemGetAllocationGranularity, 10020, optional,                                             \
    (std::size_t * bytes, const CuAllocationProperties* properties, int flags))                 \
  X(cuMemCreate, 10020, optional,                                                               \
    (CuAllocation * allocation, std::size_t bytes, const CuAllocationProperties* properties,    \
     unsigned long long flags))                                                                 \
  X(cuMemRelease, 10020, optional, (CuAllocation allocation))                                   \
  X(cuMemAddressReserve, 10020, optional,                                                       \
    (CuDevicePointer * address, std::size_t bytes, std::size_t alignment, CuDevicePointer hint, \
     unsigned long long flags))                                                                 \
  X(cuMemAddressFree, 10020, optional, (CuDevicePointer address, std::size_t bytes))            \
  X(cuMemMap, 10020, optional,                                                                  \
    (CuDevicePointer address, std::size_t bytes, std::size_t offset, CuAllocation allocation,   \
     unsigned long long flags))                                                                 \
  X(cuMemUnmap, 10020, optional, (CuDevicePointer address, std::size_t bytes))                  \
  X(cuMemSetAccess, 10020, optional,                                                            \
    (CuDevicePointer address, std::size_t bytes, const CuAccess* access, std::size_t count))    \
  X(cuMemExportToShareableHandle, 10020, optional,                                              \
    (void* handle, CuAllocation allocation, int type, unsigned long long flags))                \
  X(cuMemImportFromShareableHandle, 10020, optional,                                            \
    (CuAllocation * allocation, void* handle, int type))                                        \
  X(cuMemRetainAllocationHandle, 11000, optional, (CuAllocation * allocation, void* address))   \
  X(cuMemGetAllocationPropertiesFromHandle, 10020, optional,                                    \
    (CuAllocationProperties * properties, CuAllocation allocation))                             \
  X(cuMemAlloc, 3020, required, (CuDevicePointer * address, std::size_t bytes))                 \
  X(cuMemFree, 3020, required, (CuDevicePointer address))                                       \
  X(cuMemHostAlloc, 2020, required, (void** address, std::size_t bytes, unsigned flags))        \
  X(cuMemFreeHost, 2000, required, (void* address))                                             \
  X(cuMemHostRegister, 6050, required, (void* address, std::size_t bytes, unsigned flags))      \
  X(cuMemHostUnregister, 4000, required, (void* address))                                       \
  X(cuMemHostGetDevicePointer, 3020, required,                                                  \
    (CuDevicePointer * device_address, void* address, unsigned flags))                          \
  X(cuMemGetAddressRange, 3020, required,                                                       \
    (CuDevicePointer * base, std::size_t * bytes, CuDevicePointer address))                     \
  X(cuPointerGetAttribute, 4000, required,                                                      \
    (void* value, CuPointerAttribute attribute, CuDevicePointer address))                       \
  X(cuPointerGetAttributes, 7000, required,                                                     \
    (unsigned count, CuPointerAttribute* attributes, void** values, CuDevicePointer address))   \
  X(cuIpcGetMemHandle, 4010, optional, (CuIpcMemHandle * handle, CuDevicePointer address))      \
  X(cuIpcOpenMemHandle, 11000, optional,                                                        \
    (CuDevicePointer * address, CuIpcMemHandle handle, unsigned flags))                         \
  X(cuIpcCloseMemHandle, 4010, optional, (CuDevicePointer address))                             \
  X(cuMemcpy, 4000, required, (CuDevicePointer to, CuDevicePointer from, std::size_t bytes))    \
  X(cuMemcpyHtoD, 3020, required, (CuDevicePointer to, const void* from, std::size_t bytes))    \
  X(cuMemcpyDtoH, 3020, required, (void* to, CuDevicePointer from, std::size_t bytes))          \
  X(cuMemcpyAsync, 4000, required,                                                              \
    (CuDevicePointer to, CuDevicePointer from, std::size_t bytes, CuStream stream))             \
  X(cuMemcpyHtoDAsync, 3020, required,                                                          \
    (CuDevicePointer to, const void* from, std::size_t bytes, CuStream stream))                 \
  X(cuMemcpyDtoHAsync, 3020, required,                                                          \
    (void* to, CuDevicePointer from, std::size_t bytes, CuStream stream))                       \
  X(cuMemsetD8Async, 3020, required,                                                            \
    (CuDevicePointer address, unsigned char value, std::size_t bytes, CuStream stream))         \
  X(cuStreamCreate, 2000, required, (CuStream * stream, unsigned flags))                        \
  X(cuStreamDestroy, 4000, required, (CuStream stream))                                         \
  X(cuStreamSynchronize, 2000, required, (CuStream stream))                                     \
  X(cuStreamQuery, 2000, required, (CuStream stream))                                           \
  X(cuStreamWaitEvent, 3020, required, (CuStream stream, CuEvent event, unsigned flags))        \
  X(cuStreamWriteValue64, 11070, optional,                                                      \
    (CuStream stream, CuDevicePointer address, std::uint64_t value, unsigned flags))            \
  X(cuStreamWaitValue64, 11070, optional,                                                       \
    (CuStream stream, CuDevicePointer address, std::uint64_t value, unsigned flags))            \
  X(cuEventCreate, 2000, required, (CuEvent * event, unsigned flags))                           \
  X(cuEventDestroy, 4000, required, (CuEvent event))                                            \
  X(cuEventRecord, 2000, required, (CuEvent event, CuStream stream))                            \
  X(cuEventQuery, 2000, required, (CuEvent event))                                              \
  X(cuEventSynchronize, 2000, required, (CuEvent event))                                        \
  X(cuModuleLoadData, 2000, optional, (CuModule * module, const void* image))                   \
  X(cuModuleUnload, 2000, optional, (CuModule module))                                          \
  X(cuModuleGetFunction, 2000, optional,                                                        \
    (CuFunction * function, CuModule module, const char* name))                                 \
  X(cuLaunchKernel, 4000, optional,                                                             \
    (CuFunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,  \
     unsigned block_y, unsigned block_z, unsigned shared_bytes, CuStream stream,                \
     void** parameters, void** extra))

namespace strata::inline v0_1::cuda {

// One pointer for each call; null where the driver does not have it.
struct DriverTable {
#define STRATA_CUDA_POINTER(name, version, need, parameters) CuResult(*name) parameters = nullptr;
  STRATA_CUDA_CALLS(STRATA_CUDA_POINTER)
#undef STRATA_CUDA_POINTER
};

}  // namespace strata::inline v0_1::cuda
