// What the CUDA driver calls its objects, declared here so that no build needs a toolkit: a
// CuStream is a CUstream (and a cudaStream_t), a CuEvent a CUevent; pass them with
// reinterpret_cast.
//   Threads:  declarations only.
#pragma once

#include <cstdint>

namespace strata::inline v0_1::cuda {

using CuDevice = int;
using CuDevicePointer = std::uint64_t;
struct CuContextObject;
using CuContext = CuContextObject*;
struct CuStreamObject;
using CuStream = CuStreamObject*;  // null: the legacy default stream
struct CuEventObject;
using CuEvent = CuEventObject*;
struct CuModuleObject;
using CuModule = CuModuleObject*;
struct CuFunctionObject;
using CuFunction = CuFunctionObject*;

}  // namespace strata::inline v0_1::cuda
