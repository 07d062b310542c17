#include "strata/gpu/interop/array_layout.h"

#include <fmt/format.h>

#include <limits>

#include "strata/gpu/device.h"

namespace strata::inline v0_1::interop {
namespace {

constexpr std::uint64_t kMostElements = std::numeric_limits<std::int64_t>::max();

std::string_view kind_name(ElementKind kind) {
  switch (kind) {
    case ElementKind::signed_integer: return "int";
    case ElementKind::unsigned_integer: return "uint";
    case ElementKind::floating: return "float";
    case ElementKind::bfloat: return "bfloat";
    case ElementKind::complex: return "complex";
    case ElementKind::boolean: return "bool";
  }
  return "?";
}

// The product, or nothing where it does not fit.
bool multiply(std::uint64_t a, std::uint64_t b, std::uint64_t& product) {
  return !__builtin_mul_overflow(a, b, &product) && product <= kMostElements;
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "(";
  for (const std::int64_t size : shape)
    text += fmt::format("{}{}", text.size() == 1 ? "" : ", ", size);
  return text + ")";
}

Unexpected too_many(std::span<const std::int64_t> shape) {
  return fail(Code::invalid_argument,
              fmt::format("shape {}: that many elements cannot be counted", shape_text(shape)));
}

Result<void> check_sizes(std::span<const std::int64_t> shape) {
  for (const std::int64_t size : shape) {
    if (size < 0) {
      return fail(Code::invalid_argument,
                  fmt::format("shape {}: a size is negative", shape_text(shape)));
    }
  }
  return {};
}

// Where the segment's memory is, for the host or for a device.
Result<ArrayView> locate(const Segment& segment, HostMemory host) {
  ArrayView view;
  view.is_read_only =
      segment.access() == Access::read_only || segment.state() == SegmentState::sealed;
  if (const auto device = segment.device_bytes(); device) {
    STRATA_ASSIGN(const std::shared_ptr<cuda::Devices> devices, cuda::Devices::load({}));
    const cuda::Device* const found = devices->find(device->device_uuid);
    if (!found) {
      return fail(Code::no_device, fmt::format("{} is on {}, which this process does not see",
                                               segment.uri().to_string(),
                                               cuda::device_uuid_text(device->device_uuid)));
    }
    view.memory = MemoryKind::device;
    view.address = device->address;
    view.device = found->ordinal();
    return view;
  }
  STRATA_ASSIGN(const std::span<const std::byte> bytes, segment.host_bytes());
  view.memory = host == HostMemory::pinned ? MemoryKind::pinned_host : MemoryKind::host;
  view.address = reinterpret_cast<std::uintptr_t>(bytes.data());
  return view;
}

}  // namespace

std::string element_text(const ElementType& type) {
  if (type.kind == ElementKind::boolean) return "bool";
  return fmt::format("{}{}", kind_name(type.kind), type.bits);
}

Result<void> check_element(const ElementType& type) {
  const auto is_one_of = [&](std::initializer_list<std::uint32_t> widths) {
    for (const std::uint32_t width : widths)
      if (type.bits == width) return true;
    return false;
  };
  bool is_known = false;
  switch (type.kind) {
    case ElementKind::signed_integer:
    case ElementKind::unsigned_integer: is_known = is_one_of({8, 16, 32, 64}); break;
    case ElementKind::floating: is_known = is_one_of({16, 32, 64}); break;
    case ElementKind::bfloat: is_known = is_one_of({16}); break;
    case ElementKind::complex: is_known = is_one_of({64, 128}); break;
    case ElementKind::boolean: is_known = is_one_of({8}); break;
  }
  if (is_known) return {};
  return fail(Code::invalid_argument, fmt::format("element type {} of {} bits: there is none",
                                                  kind_name(type.kind), type.bits));
}

Result<std::vector<std::int64_t>> row_major_strides(std::span<const std::int64_t> shape) {
  STRATA_TRY(check_sizes(shape));
  std::vector<std::int64_t> strides(shape.size());
  std::uint64_t product = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = static_cast<std::int64_t>(product);
    // Sizes of nothing still have neighbours whose product must fit.
    const auto size = static_cast<std::uint64_t>(shape[i] == 0 ? 1 : shape[i]);
    if (!multiply(product, size, product)) return too_many(shape);
  }
  return strides;
}

Result<std::uint64_t> extent_bytes(const ElementType& element, std::span<const std::int64_t> shape,
                                   std::span<const std::int64_t> strides) {
  STRATA_TRY(check_sizes(shape));
  if (strides.size() != shape.size()) {
    return fail(Code::invalid_argument,
                fmt::format("{} strides for a shape of {} sizes", strides.size(), shape.size()));
  }
  std::uint64_t last = 0;
  bool is_empty = false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (strides[i] < 0) {
      return fail(Code::invalid_argument,
                  fmt::format("strides {}: one is negative", shape_text(strides)));
    }
    is_empty = is_empty || shape[i] == 0;
    std::uint64_t reach = 0;
    if (shape[i] > 0 && !multiply(static_cast<std::uint64_t>(shape[i] - 1),
                                  static_cast<std::uint64_t>(strides[i]), reach)) {
      return too_many(shape);
    }
    if (__builtin_add_overflow(last, reach, &last)) return too_many(shape);
  }
  if (is_empty) return 0;
  std::uint64_t bytes = 0;
  if (last >= kMostElements || !multiply(last + 1, element.bytes(), bytes)) return too_many(shape);
  return bytes;
}

bool is_dense(const ArrayLayout& layout) {
  const auto dense = row_major_strides(layout.shape);
  if (!dense || layout.strides.size() != dense->size()) return false;
  bool is_empty = false;
  bool is_same = true;
  for (std::size_t i = 0; i < dense->size(); ++i) {
    is_empty = is_empty || layout.shape[i] == 0;
    // Where there is one index only, nobody takes a stride.
    is_same = is_same && (layout.shape[i] == 1 || layout.strides[i] == (*dense)[i]);
  }
  return is_empty || is_same;
}

Result<ArrayView> view_array(const Segment& segment, const ArrayLayout& layout, HostMemory host) {
  const auto view = [&]() -> Result<ArrayView> {
    STRATA_TRY(check_element(layout.element));
    ArrayLayout full = layout;
    STRATA_ASSIGN(const std::vector<std::int64_t> dense, row_major_strides(layout.shape));
    if (full.strides.empty()) full.strides = dense;
    STRATA_ASSIGN(const std::uint64_t extent, extent_bytes(full.element, full.shape, full.strides));
    const std::uint64_t payload = segment.payload_bytes();
    if (layout.offset_bytes > payload || extent > payload - layout.offset_bytes) {
      return fail(Code::invalid_argument,
                  fmt::format("{} elements of shape {} take {} bytes from {} on, and the payload "
                              "has {}",
                              element_text(full.element), shape_text(full.shape), extent,
                              layout.offset_bytes, payload));
    }
    STRATA_ASSIGN(ArrayView found, locate(segment, host));
    found.address += layout.offset_bytes;
    if (found.address % kArrayAlignment != 0) {
      return fail(Code::invalid_argument, fmt::format("an array at offset {}: consumers expect a "
                                                      "multiple of {} bytes",
                                                      layout.offset_bytes, kArrayAlignment));
    }
    found.extent_bytes = extent;
    found.layout = std::move(full);
    return found;
  }();
  if (!view) return unexpected(view.error().in("array in " + segment.uri().to_string()));
  return view;
}

}  // namespace strata::inline v0_1::interop
