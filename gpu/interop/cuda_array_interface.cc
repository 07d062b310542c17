#include "strata/gpu/interop/cuda_array_interface.h"

#include <fmt/format.h>

#include <bit>

namespace strata::inline v0_1::interop {
namespace {

// As NumPy spells a type: byte order, kind, bytes.
Result<std::string> typestr_of(const ElementType& type) {
  static_assert(std::endian::native == std::endian::little);
  const auto spell = [&](char kind) {
    return fmt::format("{}{}{}", type.bytes() == 1 ? '|' : '<', kind, type.bytes());
  };
  switch (type.kind) {
    case ElementKind::signed_integer: return spell('i');
    case ElementKind::unsigned_integer: return spell('u');
    case ElementKind::floating: return spell('f');
    case ElementKind::complex: return spell('c');
    case ElementKind::boolean: return spell('b');
    case ElementKind::bfloat: break;
  }
  return fail(
      Code::unsupported,
      fmt::format("__cuda_array_interface__ has no name for {}: use DLPack", element_text(type)));
}

std::string list_text(const std::vector<std::int64_t>& numbers) {
  std::string text = "[";
  for (const std::int64_t number : numbers)
    text += fmt::format("{}{}", text.size() == 1 ? "" : ", ", number);
  return text + "]";
}

}  // namespace

Result<CudaArrayInterface> cuda_array_interface(const Segment& segment, const ArrayLayout& layout,
                                                std::optional<cuda::CuStream> stream) {
  STRATA_ASSIGN(ArrayView view, view_array(segment, layout));
  if (view.memory != MemoryKind::device) {
    return fail(
        Code::unsupported,
        fmt::format("{} is host memory: NumPy takes it by the buffer protocol, or as DLPack",
                    segment.uri().to_string()));
  }
  STRATA_ASSIGN(std::string typestr, typestr_of(view.layout.element));
  CudaArrayInterface array{.shape = view.layout.shape,
                           .typestr = std::move(typestr),
                           // As the interface asks of an array without elements.
                           .address = view.extent_bytes == 0 ? 0 : view.address,
                           .is_read_only = view.is_read_only};
  if (!is_dense(view.layout)) {
    for (const std::int64_t stride : view.layout.strides)
      array.stride_bytes.push_back(stride * static_cast<std::int64_t>(view.layout.element.bytes()));
  }
  if (stream) {
    constexpr std::uint64_t kLegacyDefault =
        1;  // 0 is not allowed, as it could mean either default
    array.stream = *stream ? reinterpret_cast<std::uintptr_t>(*stream) : kLegacyDefault;
  }
  return array;
}

std::string CudaArrayInterface::to_json() const {
  return fmt::format(
      R"({{"shape": {}, "typestr": "{}", "data": [{}, {}], "version": {}, "strides": {}, "stream": {}}})",
      list_text(shape), typestr, address, is_read_only, kVersion,
      stride_bytes.empty() ? "null" : list_text(stride_bytes),
      stream ? fmt::format("{}", *stream) : "null");
}

}  // namespace strata::inline v0_1::interop
