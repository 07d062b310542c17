// An ArrayLayout says how the bytes of a segment are an array: element type, shape, strides, start.
//   Threads:  a value.
//   Errors:   invalid_argument for what cannot be: negative or overflowing sizes, elements beyond
//             the payload, a start that is not aligned.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "strata/base/result.h"
#include "strata/segment/segment.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::interop {

enum class ElementKind : std::uint8_t {
  signed_integer,
  unsigned_integer,
  floating,
  bfloat,
  complex,
  boolean,  // a byte
};

struct ElementType {
  ElementKind kind = ElementKind::unsigned_integer;
  std::uint32_t bits = 8;

  std::uint64_t bytes() const { return bits / 8; }
  bool operator==(const ElementType&) const = default;
};

inline constexpr ElementType kInt8{ElementKind::signed_integer, 8};
inline constexpr ElementType kInt32{ElementKind::signed_integer, 32};
inline constexpr ElementType kInt64{ElementKind::signed_integer, 64};
inline constexpr ElementType kUint8{ElementKind::unsigned_integer, 8};
inline constexpr ElementType kFloat16{ElementKind::floating, 16};
inline constexpr ElementType kFloat32{ElementKind::floating, 32};
inline constexpr ElementType kFloat64{ElementKind::floating, 64};
inline constexpr ElementType kBfloat16{ElementKind::bfloat, 16};

struct ArrayLayout {
  ElementType element = {};
  std::vector<std::int64_t> shape = {};
  // In elements, none negative; empty: row after row without gaps.
  std::vector<std::int64_t> strides = {};
  std::uint64_t offset_bytes = 0;  // of the first element in the payload
};

// "float32"; for messages.
std::string element_text(const ElementType& type);
// Errors: invalid_argument for a width that its kind does not have.
Result<void> check_element(const ElementType& type);

// Strides of an array without gaps, the last index fastest. Errors: invalid_argument where a size
// is negative or their product is beyond what 63 bits count.
Result<std::vector<std::int64_t>> row_major_strides(std::span<const std::int64_t> shape);

// Bytes from the first element to the end of the last one that any index leads to; 0 for an array
// without elements. Errors: invalid_argument.
Result<std::uint64_t> extent_bytes(const ElementType& element, std::span<const std::int64_t> shape,
                                   std::span<const std::int64_t> strides);

// Whether the elements follow each other without gaps, the last index fastest.
bool is_dense(const ArrayLayout& layout);

enum class MemoryKind : std::uint8_t {
  host,         // host_bytes() of a segment
  pinned_host,  // the same, which this process has registered with the driver
  device,       // device_bytes()
};

// Whether a segment's host memory is registered is known to whoever registered it.
enum class HostMemory : std::uint8_t { pageable, pinned };

// An array that lies in a segment, checked.
struct ArrayView {
  MemoryKind memory = MemoryKind::host;
  std::uint64_t address = 0;  // of the first element
  int device = 0;             // its number in this process; 0 for host memory
  bool is_read_only = false;
  std::uint64_t extent_bytes = 0;
  ArrayLayout layout = {};  // with strides
};

// Multiples of this are what consumers of device memory expect an array to begin at.
inline constexpr std::uint64_t kArrayAlignment = 256;

// Errors: invalid_argument; unsupported for memory that neither the host nor a device addresses;
// no_device where the driver does not show the segment's device.
Result<ArrayView> view_array(const Segment& segment, const ArrayLayout& layout,
                             HostMemory host = HostMemory::pageable);

}  // namespace strata::inline v0_1::interop
#pragma GCC visibility pop
