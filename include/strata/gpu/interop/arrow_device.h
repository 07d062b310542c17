// A segment as one column of Apache Arrow: numbers without nulls, on the host or on a device. No
// copy is made. Arrow, cuDF, DuckDB and Polars read it.
//
//     STRATA_ASSIGN(ArrowExport column, export_arrow(segment, kInt64, {.length = 1000}));
//     pyarrow.Array._import_from_c_device(&column.array, &column.schema)
//
//   Threads:  any; release may be called on any thread, once for each struct.
//   Lifetime: the array holds the attachment until it is released; the schema holds nothing of it.
//   Errors:   as view_array(); unsupported for element types that Arrow has not, or stores in
//             another way (booleans as bits).
//   Cost:     some allocations; no call of the driver.
//   Source:   the Arrow C data interface and the C device data interface.
#pragma once

#include <cstdint>

#include "strata/base/result.h"
#include "strata/gpu/cuda_types.h"
#include "strata/gpu/interop/array_layout.h"
#include "strata/segment/segment.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::arrow {

struct Schema {  // ArrowSchema
  const char* format;
  const char* name;
  const char* metadata;
  std::int64_t flags;
  std::int64_t n_children;
  Schema** children;
  Schema* dictionary;
  void (*release)(Schema*);
  void* private_data;
};

struct Array {  // ArrowArray
  std::int64_t length;
  std::int64_t null_count;
  std::int64_t offset;
  std::int64_t n_buffers;
  std::int64_t n_children;
  const void** buffers;
  Array** children;
  Array* dictionary;
  void (*release)(Array*);
  void* private_data;
};

// ArrowDeviceType, with the numbers of DLPack.
inline constexpr std::int32_t kDeviceCpu = 1;
inline constexpr std::int32_t kDeviceCuda = 2;
inline constexpr std::int32_t kDeviceCudaHost = 3;

struct DeviceArray {  // ArrowDeviceArray
  Array array;
  std::int64_t device_id;  // -1 on the host
  std::int32_t device_type;
  void* sync_event;  // of a CUDA device: the address of a CUevent, or null
  std::int64_t reserved[3];
};

}  // namespace strata::inline v0_1::arrow

namespace strata::inline v0_1::interop {

// Whoever takes the structs calls their release functions.
struct ArrowExport {
  arrow::Schema schema;
  arrow::DeviceArray array;
};

struct ArrowColumn {
  std::int64_t length = 0;         // elements
  std::uint64_t offset_bytes = 0;  // of the first one in the payload
  // Must have come about before a consumer reads; borrowed, and to outlive the array. Only for
  // device memory.
  cuda::CuEvent* written = nullptr;
};

Result<ArrowExport> export_arrow(const Segment& segment, const ElementType& element,
                                 const ArrowColumn& column, HostMemory host = HostMemory::pageable);

}  // namespace strata::inline v0_1::interop
#pragma GCC visibility pop
