// Every call of the fake driver, under the name and with the parameters of gpu/driver_abi.h, and
// exported under the symbol that the real library has.
#pragma once

#include <cstddef>
#include <type_traits>

#include "gpu/driver_abi.h"

namespace strata::inline v0_1::fake_cuda {

#define STRATA_FAKE_CUDA_NAME(name, version, need, parameters) name,
enum class CallName : std::size_t { STRATA_CUDA_CALLS(STRATA_FAKE_CUDA_NAME) count };
#undef STRATA_FAKE_CUDA_NAME

inline constexpr std::size_t kCallCount = static_cast<std::size_t>(CallName::count);

}  // namespace strata::inline v0_1::fake_cuda

// Calls whose symbol says that the interface has changed since the name was first used.
#define STRATA_FAKE_CUDA_SECOND_VERSIONS(X) \
  X(cuDeviceTotalMem)                       \
  X(cuDeviceGetUuid)                        \
  X(cuDevicePrimaryCtxRelease)              \
  X(cuCtxPushCurrent)                       \
  X(cuCtxPopCurrent)                        \
  X(cuMemGetInfo)                           \
  X(cuMemAlloc)                             \
  X(cuMemFree)                              \
  X(cuMemHostRegister)                      \
  X(cuMemHostGetDevicePointer)              \
  X(cuMemGetAddressRange)                   \
  X(cuIpcOpenMemHandle)                     \
  X(cuMemcpyHtoD)                           \
  X(cuMemcpyDtoH)                           \
  X(cuMemcpyHtoDAsync)                      \
  X(cuMemcpyDtoHAsync)                      \
  X(cuStreamDestroy)                        \
  X(cuStreamWriteValue64)                   \
  X(cuStreamWaitValue64)                    \
  X(cuEventDestroy)

extern "C" {
#define STRATA_FAKE_CUDA_DECLARE(name) \
  std::remove_pointer_t<decltype(strata::cuda::DriverTable::name)> name __asm__(#name "_v2");
STRATA_FAKE_CUDA_SECOND_VERSIONS(STRATA_FAKE_CUDA_DECLARE)
#undef STRATA_FAKE_CUDA_DECLARE

#define STRATA_FAKE_CUDA_DECLARE(name, version, need, parameters) \
  std::remove_pointer_t<decltype(strata::cuda::DriverTable::name)> name;
STRATA_CUDA_CALLS(STRATA_FAKE_CUDA_DECLARE)
#undef STRATA_FAKE_CUDA_DECLARE
}

namespace strata::inline v0_1::fake_cuda {
using namespace strata::cuda;  // NOLINT: the whole of the fake speaks the driver's language
}  // namespace strata::inline v0_1::fake_cuda
