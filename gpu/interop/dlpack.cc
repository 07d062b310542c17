#include "strata/gpu/interop/dlpack.h"

#include <fmt/format.h>

#include <optional>

namespace strata::inline v0_1::interop {
namespace {

constexpr int kMostDimensions = 64;  // as NumPy

dlpack::TypeCode code_of(ElementKind kind) {
  switch (kind) {
    case ElementKind::signed_integer: return dlpack::kInt;
    case ElementKind::unsigned_integer: return dlpack::kUint;
    case ElementKind::floating: return dlpack::kFloat;
    case ElementKind::bfloat: return dlpack::kBfloat;
    case ElementKind::complex: return dlpack::kComplex;
    case ElementKind::boolean: return dlpack::kBool;
  }
  return dlpack::kUint;
}

std::optional<ElementKind> kind_of(std::uint8_t code) {
  switch (code) {
    case dlpack::kInt: return ElementKind::signed_integer;
    case dlpack::kUint: return ElementKind::unsigned_integer;
    case dlpack::kFloat: return ElementKind::floating;
    case dlpack::kBfloat: return ElementKind::bfloat;
    case dlpack::kComplex: return ElementKind::complex;
    case dlpack::kBool: return ElementKind::boolean;
    default: return std::nullopt;
  }
}

dlpack::DeviceType device_of(MemoryKind memory) {
  switch (memory) {
    case MemoryKind::device: return dlpack::kCuda;
    case MemoryKind::pinned_host: return dlpack::kCudaHost;
    case MemoryKind::host: return dlpack::kCpu;
  }
  return dlpack::kCpu;
}

std::optional<MemoryKind> memory_of(std::int32_t device_type) {
  switch (device_type) {
    case dlpack::kCpu: return MemoryKind::host;
    case dlpack::kCuda: return MemoryKind::device;
    case dlpack::kCudaHost: return MemoryKind::pinned_host;
    default: return std::nullopt;
  }
}

// What an exported tensor points to; gone with its deleter.
template <typename Managed>
struct Exported {
  Exported(const Segment& held, ArrayView checked)
      : segment(held.share()), view(std::move(checked)) {
    managed.manager_ctx = this;
    managed.deleter = [](Managed* self) { delete static_cast<Exported*>(self->manager_ctx); };
    ArrayLayout& layout = view.layout;
    managed.dl_tensor = {
        .data = reinterpret_cast<void*>(view.address),
        .device = {device_of(view.memory), view.device},
        .ndim = static_cast<std::int32_t>(layout.shape.size()),
        .dtype = {code_of(layout.element.kind), static_cast<std::uint8_t>(layout.element.bits), 1},
        .shape = layout.shape.data(),
        .strides = layout.strides.data(),
        .byte_offset = 0,
    };
  }

  Managed managed{};
  Segment segment;
  ArrayView view;
};

template <typename Managed>
void delete_managed(void* tensor) {
  auto* const managed = static_cast<Managed*>(tensor);
  if (managed->deleter) managed->deleter(managed);
}

}  // namespace

Result<dlpack::ManagedTensorVersioned*> export_dlpack(const Segment& segment,
                                                      const ArrayLayout& layout, HostMemory host) {
  STRATA_ASSIGN(ArrayView view, view_array(segment, layout, host));
  auto* const exported = new Exported<dlpack::ManagedTensorVersioned>(segment, std::move(view));
  exported->managed.version = {dlpack::kMajorVersion, dlpack::kMinorVersion};
  exported->managed.flags = exported->view.is_read_only ? dlpack::kReadOnly : 0;
  return &exported->managed;
}

Result<dlpack::ManagedTensor*> export_dlpack_legacy(const Segment& segment,
                                                    const ArrayLayout& layout, HostMemory host) {
  STRATA_ASSIGN(ArrayView view, view_array(segment, layout, host));
  if (view.is_read_only) {
    return fail(Code::unsupported,
                fmt::format("{} may only be read, which a DLPack tensor before 1.0 cannot say: use "
                            "the versioned form, or attach it for writing",
                            segment.uri().to_string()));
  }
  return &(new Exported<dlpack::ManagedTensor>(segment, std::move(view)))->managed;
}

Result<ImportedTensor> ImportedTensor::import(dlpack::ManagedTensorVersioned* tensor) {
  if (!tensor) return fail(Code::invalid_argument, "no DLPack tensor");
  Owner owner(tensor, delete_managed<dlpack::ManagedTensorVersioned>);
  // Of another major version only version, manager_ctx and deleter may be looked at.
  if (tensor->version.major != dlpack::kMajorVersion) {
    return fail(Code::unsupported,
                fmt::format("a DLPack tensor of version {}.{}: {}.x is known",
                            tensor->version.major, tensor->version.minor, dlpack::kMajorVersion));
  }
  STRATA_ASSIGN(ArrayView view, check(tensor->dl_tensor));
  view.is_read_only = (tensor->flags & dlpack::kReadOnly) != 0;
  return ImportedTensor(std::move(owner), std::move(view));
}

Result<ImportedTensor> ImportedTensor::import(dlpack::ManagedTensor* tensor) {
  if (!tensor) return fail(Code::invalid_argument, "no DLPack tensor");
  Owner owner(tensor, delete_managed<dlpack::ManagedTensor>);
  STRATA_ASSIGN(ArrayView view, check(tensor->dl_tensor));
  return ImportedTensor(std::move(owner), std::move(view));
}

Result<ArrayView> ImportedTensor::check(const dlpack::Tensor& tensor) {
  const auto memory = memory_of(tensor.device.device_type);
  if (!memory) {
    return fail(Code::unsupported,
                fmt::format("a DLPack tensor in memory of type {}: host (1), CUDA (2) and pinned "
                            "host (3) are known",
                            tensor.device.device_type));
  }
  const auto kind = kind_of(tensor.dtype.code);
  if (!kind || tensor.dtype.lanes != 1) {
    return fail(Code::unsupported, fmt::format("a DLPack tensor of type code {} with {} lanes",
                                               tensor.dtype.code, tensor.dtype.lanes));
  }
  if (tensor.ndim < 0 || tensor.ndim > kMostDimensions || (tensor.ndim > 0 && !tensor.shape)) {
    return fail(Code::invalid_argument,
                fmt::format("a DLPack tensor of {} dimensions", tensor.ndim));
  }
  ArrayView view{.memory = *memory, .device = tensor.device.device_id};
  view.layout.element = {*kind, tensor.dtype.bits};
  STRATA_TRY(check_element(view.layout.element));
  view.layout.shape.assign(tensor.shape, tensor.shape + tensor.ndim);
  STRATA_ASSIGN(view.layout.strides, row_major_strides(view.layout.shape));
  if (tensor.strides) view.layout.strides.assign(tensor.strides, tensor.strides + tensor.ndim);
  STRATA_ASSIGN(view.extent_bytes,
                extent_bytes(view.layout.element, view.layout.shape, view.layout.strides));
  if (!tensor.data && view.extent_bytes != 0) {
    return fail(Code::invalid_argument, "a DLPack tensor without memory");
  }
  view.address = reinterpret_cast<std::uintptr_t>(tensor.data) + tensor.byte_offset;
  return view;
}

Result<std::span<const std::byte>> ImportedTensor::host_bytes() const {
  if (view_.memory == MemoryKind::device) {
    return fail(Code::unsupported, "the tensor is in the memory of a device: see view()");
  }
  if (!is_dense(view_.layout)) {
    return fail(Code::unsupported, "the tensor has gaps, or another order: copy it by its strides");
  }
  return std::span(reinterpret_cast<const std::byte*>(view_.address), view_.extent_bytes);
}

}  // namespace strata::inline v0_1::interop
