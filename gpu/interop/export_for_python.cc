// What //gpu/interop:published_test calls by ctypes: one host segment of 64 floats, 0 to 63, shown
// in each form.
#include <cstring>
#include <numeric>
#include <vector>

#include "segment/fake_backend.h"
#include "strata/gpu/interop/arrow_device.h"
#include "strata/gpu/interop/dlpack.h"

namespace {

using namespace strata;           // NOLINT
using namespace strata::interop;  // NOLINT

constexpr std::int64_t kElements = 64;

struct World {
  RealOs os;
  FakeBackend backend{os};
  SegmentUri uri = SegmentUri::parse("fake:python").value();
  Segment segment = make();

  Segment make() {
    Segment made = backend.create(uri, {.payload_bytes = 4096}).value();
    std::vector<float> numbers(kElements);
    std::iota(numbers.begin(), numbers.end(), 0.0F);
    std::memcpy(made.writable_bytes().value().data(), numbers.data(), kElements * sizeof(float));
    return made;
  }
};

World& world() {
  static World one;
  return one;
}

const ArrayLayout kLayout{.element = kFloat32, .shape = {8, 8}};

}  // namespace

extern "C" {

void* export_versioned(int is_read_only, int is_pinned) {
  const auto segment =
      is_read_only ? world().backend.attach(world().uri, {.access = Access::read_only}).value()
                   : world().segment.share();
  const HostMemory host = is_pinned ? HostMemory::pinned : HostMemory::pageable;
  return export_dlpack(segment, kLayout, host).value();
}

void* export_legacy() { return export_dlpack_legacy(world().segment, kLayout).value(); }

void export_column(arrow::Schema* schema, arrow::DeviceArray* array) {
  const ArrowExport made = export_arrow(world().segment, kFloat32, {.length = kElements}).value();
  *schema = made.schema;
  *array = made.array;
}

// The sum of a tensor that Python hands over, which ends here; negative where it is refused.
double import_sum(dlpack::ManagedTensorVersioned* tensor) {
  const auto imported = ImportedTensor::import(tensor);
  if (!imported) return -1;
  const auto bytes = imported->host_bytes();
  if (!bytes || imported->view().layout.element != kFloat32) return -2;
  std::vector<float> numbers(bytes->size() / sizeof(float));
  std::memcpy(numbers.data(), bytes->data(), bytes->size());
  return std::accumulate(numbers.begin(), numbers.end(), 0.0);
}

float first_float() {
  float first = 0;
  std::memcpy(&first, world().segment.host_bytes().value().data(), sizeof first);
  return first;
}

}  // extern "C"
