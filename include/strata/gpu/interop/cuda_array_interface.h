// A device segment as what Python objects return as __cuda_array_interface__, version 3: CuPy,
// Numba, PyTorch and RMM read it. No copy is made.
//
//     STRATA_ASSIGN(const CudaArrayInterface array,
//                   cuda_array_interface(segment, {.element = kFloat32, .shape = {1024}}));
//     json.loads(array.to_json())
//
//   Threads:  a value.
//   Lifetime: it holds nothing: whoever hands it out keeps the segment.
//   Errors:   as view_array(); unsupported for host memory, and for element types that it has no
//             name for.
//   Cost:     no call of the driver.
//   Source:   "CUDA Array Interface (Version 3)" of the Numba documentation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "strata/base/result.h"
#include "strata/gpu/cuda_types.h"
#include "strata/gpu/interop/array_layout.h"
#include "strata/segment/segment.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::interop {

struct CudaArrayInterface {
  std::vector<std::int64_t> shape;
  std::string typestr;  // "<f4"
  std::uint64_t address = 0;
  bool is_read_only = false;
  std::vector<std::int64_t> stride_bytes = {};  // empty: without gaps
  // 1: the legacy default stream, 2: that of the thread, else a CUstream; nothing: whoever reads
  // need not wait.
  std::optional<std::uint64_t> stream = {};

  static constexpr int kVersion = 3;

  // The dictionary.
  std::string to_json() const;
};

// `stream`: where work that writes to the segment may still be under way; the consumer orders its
// own work after that. The null stream is the legacy default one.
Result<CudaArrayInterface> cuda_array_interface(const Segment& segment, const ArrayLayout& layout,
                                                std::optional<cuda::CuStream> stream = {});

}  // namespace strata::inline v0_1::interop
#pragma GCC visibility pop
