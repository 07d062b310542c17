// A segment as a DLPack tensor, and the tensors of others: the exchange format of PyTorch, CuPy,
// NumPy, JAX and many more. No copy is made.
//
//     STRATA_ASSIGN(dlpack::ManagedTensorVersioned* const tensor,
//                   export_dlpack(segment, {.element = kFloat32, .shape = {1024, 768}}));
//     PyCapsule_New(tensor, "dltensor_versioned", ...)
//
//   Threads:  any; a tensor's deleter may run on any thread, once.
//   Lifetime: an exported tensor holds the attachment: the segment value may end before it. An
//             imported one ends with its ImportedTensor.
//   Errors:   as view_array(). In a process that was forked after CUDA was started there is no
//             device memory to export.
//   Cost:     an allocation; no call of the driver.
//   Source:   DLPack 1.x, dlpack.h; the structs are compared with the published header by a test.
// Who exports says nothing about streams: what was written is to be ordered (Segment::settle(), or
// an event on the consumer's stream) before the tensor is handed over.
#pragma once

#include <cstdint>
#include <memory>

#include "strata/base/result.h"
#include "strata/gpu/interop/array_layout.h"
#include "strata/segment/segment.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::dlpack {

inline constexpr std::uint32_t kMajorVersion = 1;
inline constexpr std::uint32_t kMinorVersion = 0;

enum DeviceType : std::int32_t {  // DLDeviceType
  kCpu = 1,
  kCuda = 2,
  kCudaHost = 3,
};

enum TypeCode : std::uint8_t {  // DLDataTypeCode
  kInt = 0,
  kUint = 1,
  kFloat = 2,
  kBfloat = 4,
  kComplex = 5,
  kBool = 6,
};

inline constexpr std::uint64_t kReadOnly = 1;  // DLPACK_FLAG_BITMASK_READ_ONLY
inline constexpr std::uint64_t kIsCopied = 2;  // DLPACK_FLAG_BITMASK_IS_COPIED

struct Device {  // DLDevice
  std::int32_t device_type;
  std::int32_t device_id;
};

struct DataType {  // DLDataType
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct Tensor {  // DLTensor
  void* data;
  Device device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements
  std::uint64_t byte_offset;
};

struct ManagedTensor {  // DLManagedTensor: what consumers before 1.0 know
  Tensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(ManagedTensor* self);
};

struct PackVersion {  // DLPackVersion
  std::uint32_t major;
  std::uint32_t minor;
};

struct ManagedTensorVersioned {  // DLManagedTensorVersioned
  PackVersion version;
  void* manager_ctx;
  void (*deleter)(ManagedTensorVersioned* self);
  std::uint64_t flags;
  Tensor dl_tensor;
};

}  // namespace strata::inline v0_1::dlpack

namespace strata::inline v0_1::interop {

// The caller, or the consumer that it is handed to, calls the tensor's deleter. A segment attached
// read-only, or sealed, is marked as that.
Result<dlpack::ManagedTensorVersioned*> export_dlpack(const Segment& segment,
                                                      const ArrayLayout& layout,
                                                      HostMemory host = HostMemory::pageable);

// For consumers before DLPack 1.0. Errors: also unsupported for a segment that may not be written
// to: the old form cannot say so.
Result<dlpack::ManagedTensor*> export_dlpack_legacy(const Segment& segment,
                                                    const ArrayLayout& layout,
                                                    HostMemory host = HostMemory::pageable);

// A tensor of somebody else, checked: move-only, and deleted with this.
class ImportedTensor {
 public:
  // Takes the tensor over, also where it fails.
  // Errors: unsupported for another major version, kinds of memory and element types that Strata
  // does not know; invalid_argument for a tensor that contradicts itself, or has negative strides.
  static Result<ImportedTensor> import(dlpack::ManagedTensorVersioned* tensor);
  static Result<ImportedTensor> import(dlpack::ManagedTensor* tensor);

  const ArrayView& view() const { return view_; }
  // The bytes of a host tensor without gaps. Errors: unsupported for other ones.
  Result<std::span<const std::byte>> host_bytes() const;

 private:
  using Owner = std::unique_ptr<void, void (*)(void*)>;
  ImportedTensor(Owner owner, ArrayView view) : owner_(std::move(owner)), view_(std::move(view)) {}
  static Result<ArrayView> check(const dlpack::Tensor& tensor);

  Owner owner_;
  ArrayView view_;
};

}  // namespace strata::inline v0_1::interop
#pragma GCC visibility pop
