#include "strata/gpu/interop/arrow_device.h"

#include <fmt/format.h>

#include <array>

namespace strata::inline v0_1::interop {
namespace {

// Arrow's letter for a type.
Result<const char*> format_of(const ElementType& type) {
  const auto by_width = [&](std::array<const char*, 4> letters) -> const char* {
    switch (type.bits) {
      case 8: return letters[0];
      case 16: return letters[1];
      case 32: return letters[2];
      default: return letters[3];
    }
  };
  switch (type.kind) {
    case ElementKind::signed_integer: return by_width({"c", "s", "i", "l"});
    case ElementKind::unsigned_integer: return by_width({"C", "S", "I", "L"});
    case ElementKind::floating: return by_width({"", "e", "f", "g"});
    case ElementKind::bfloat:
    case ElementKind::complex:
    case ElementKind::boolean: break;
  }
  return fail(Code::unsupported,
              fmt::format("Arrow has no array of {} that lies in memory as this one does",
                          element_text(type)));
}

struct Held {
  Segment segment;
  // No bitmap of valid elements, as all are; then the elements.
  std::array<const void*, 2> buffers;
};

void release_array(arrow::Array* array) {
  delete static_cast<Held*>(array->private_data);
  array->private_data = nullptr;
  array->release = nullptr;  // so consumers see that it was released
}

void release_schema(arrow::Schema* schema) { schema->release = nullptr; }

std::int32_t device_of(MemoryKind memory) {
  switch (memory) {
    case MemoryKind::device: return arrow::kDeviceCuda;
    case MemoryKind::pinned_host: return arrow::kDeviceCudaHost;
    case MemoryKind::host: return arrow::kDeviceCpu;
  }
  return arrow::kDeviceCpu;
}

}  // namespace

Result<ArrowExport> export_arrow(const Segment& segment, const ElementType& element,
                                 const ArrowColumn& column, HostMemory host) {
  STRATA_ASSIGN(const ArrayView view, view_array(segment,
                                                 {.element = element,
                                                  .shape = {column.length},
                                                  .offset_bytes = column.offset_bytes},
                                                 host));
  STRATA_ASSIGN(const char* const format, format_of(element));
  if (column.written && view.memory != MemoryKind::device) {
    return fail(Code::invalid_argument,
                fmt::format("{} is host memory: no event orders it", segment.uri().to_string()));
  }
  ArrowExport exported{};
  exported.schema.format = format;
  exported.schema.name = "";
  exported.schema.release = release_schema;
  auto* const held =
      new Held{segment.share(), {nullptr, reinterpret_cast<const void*>(view.address)}};
  arrow::Array& array = exported.array.array;
  array.length = column.length;
  array.n_buffers = static_cast<std::int64_t>(held->buffers.size());
  array.buffers = held->buffers.data();
  array.release = release_array;
  array.private_data = held;
  exported.array.device_type = device_of(view.memory);
  exported.array.device_id = view.memory == MemoryKind::device ? view.device : -1;
  exported.array.sync_event = column.written;
  return exported;
}

}  // namespace strata::inline v0_1::interop
