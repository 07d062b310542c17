// Segments as arrays of other libraries: host memory of the fake backend, and device memory on the
// fake driver in a child of its own.
#include <cstring>
#include <limits>

#include "gpu/cuda_backend.h"
#include "segment/fake_backend.h"
#include "strata/gpu/interop/arrow_device.h"
#include "strata/gpu/interop/cuda_array_interface.h"
#include "strata/gpu/interop/dlpack.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/fake_cuda/fake_cuda.h"

namespace strata::inline v0_1::interop {
namespace {

constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();

struct HostSegments {
  RealOs os;
  FakeBackend backend{os};
  Segment segment = make("array", 4096);

  Segment make(const std::string& name, std::uint64_t bytes) {
    return backend.create(SegmentUri::parse("fake:" + name).value(), {.payload_bytes = bytes})
        .value();
  }
  Segment read_only() {
    return backend.attach(SegmentUri::parse("fake:array").value(), {.access = Access::read_only})
        .value();
  }
};

// A device segment, in a child that may use the driver.
struct DeviceSegments {
  RealOs os;
  test::TempDir directory;
  CudaBackend backend{os,
                      {.directory = directory.path(), .driver_library = test::fake_driver_path()}};

  Segment make(const std::string& device = {}) {
    return backend
        .create(SegmentUri::parse("cuda:array" + device).value(),
                {.payload_bytes = 1 << 20, .device = {.device = device}})
        .value();
  }
};

template <typename T>
Code code_of(const Result<T>& result) {
  return result ? Code::internal : result.error().code();
}

TEST_CASE("a_host_segment_is_a_tensor_that_outlives_its_segment_value") {
  HostSegments host;
  std::memcpy(host.segment.writable_bytes().value().data(), "abcdefgh", 8);
  auto* const tensor =
      export_dlpack(host.segment, {.element = kFloat32, .shape = {4, 8, 2}}).value();
  const std::byte* const data = host.segment.host_bytes().value().data();
  { const Segment gone = std::move(host.segment); }
  CHECK(tensor->version.major == 1);
  CHECK(tensor->flags == 0);
  CHECK(tensor->dl_tensor.device.device_type == dlpack::kCpu);
  CHECK(tensor->dl_tensor.data == data);
  CHECK(tensor->dl_tensor.byte_offset == 0);
  CHECK(tensor->dl_tensor.ndim == 3);
  CHECK(tensor->dl_tensor.dtype.code == dlpack::kFloat);
  CHECK(tensor->dl_tensor.dtype.bits == 32);
  CHECK(tensor->dl_tensor.dtype.lanes == 1);
  CHECK(std::vector<std::int64_t>(tensor->dl_tensor.strides, tensor->dl_tensor.strides + 3) ==
        std::vector<std::int64_t>{16, 2, 1});
  CHECK(std::memcmp(tensor->dl_tensor.data, "abcdefgh", 8) == 0);
  tensor->deleter(tensor);
}

TEST_CASE("a_read_only_segment_is_marked_and_the_old_form_refuses_it") {
  HostSegments host;
  const Segment reader = host.read_only();
  auto* const tensor = export_dlpack(reader, {.shape = {16}}).value();
  CHECK(tensor->flags == dlpack::kReadOnly);
  tensor->deleter(tensor);
  CHECK(code_of(export_dlpack_legacy(reader, {.shape = {16}})) == Code::unsupported);
  auto* const old = export_dlpack_legacy(host.segment, {.shape = {16}}).value();
  CHECK(old->dl_tensor.shape[0] == 16);
  old->deleter(old);
  REQUIRE(host.segment.seal());
  auto* const sealed = export_dlpack(host.segment, {.shape = {16}}).value();
  CHECK(sealed->flags == dlpack::kReadOnly);
  sealed->deleter(sealed);
}

TEST_CASE("pinned_memory_is_said_to_be_pinned") {
  HostSegments host;
  auto* const tensor = export_dlpack(host.segment, {.shape = {16}}, HostMemory::pinned).value();
  CHECK(tensor->dl_tensor.device.device_type == dlpack::kCudaHost);
  tensor->deleter(tensor);
}

TEST_CASE("arrays_that_cannot_be_are_refused") {
  const HostSegments host;
  const auto code = [&](ArrayLayout layout) {
    return code_of(export_dlpack(host.segment, layout));
  };
  CHECK(code({.shape = {-1}}) == Code::invalid_argument);
  CHECK(code({.shape = {4097}}) == Code::invalid_argument);
  CHECK(code({.shape = {4096}, .offset_bytes = 256}) == Code::invalid_argument);
  CHECK(code({.shape = {1}, .offset_bytes = 8}) == Code::invalid_argument);  // not aligned
  CHECK(code({.shape = {0}, .offset_bytes = 8192}) == Code::invalid_argument);
  // Products beyond 64 bits, also where a size of nothing hides them.
  CHECK(code({.shape = {kHuge, kHuge}}) == Code::invalid_argument);
  CHECK(code({.shape = {kHuge, 4, 0}}) == Code::invalid_argument);
  CHECK(code({.element = kFloat64, .shape = {kHuge / 4}}) == Code::invalid_argument);
  CHECK(code({.shape = {1LL << 32, 1LL << 32}}) == Code::invalid_argument);
  CHECK(code({.shape = {2, 2}, .strides = {kHuge, kHuge}}) == Code::invalid_argument);
  CHECK(code({.shape = {2}, .strides = {-1}}) == Code::invalid_argument);
  CHECK(code({.shape = {2}, .strides = {1, 1}}) == Code::invalid_argument);
  CHECK(code({.shape = {2}, .strides = {4096}}) == Code::invalid_argument);
  CHECK(code({.element = {ElementKind::floating, 7}, .shape = {1}}) == Code::invalid_argument);
  CHECK(code({.element = {ElementKind::boolean, 1}, .shape = {1}}) == Code::invalid_argument);
}

TEST_CASE("scalars_arrays_of_nothing_and_gaps_are_tensors") {
  const HostSegments host;
  for (const ArrayLayout& layout :
       {ArrayLayout{.shape = {}}, ArrayLayout{.shape = {3, 0}}, ArrayLayout{.shape = {4096}},
        ArrayLayout{.shape = {2}, .strides = {4095}},
        ArrayLayout{.shape = {2, 3}, .strides = {0, 1}},
        ArrayLayout{.element = kBfloat16, .shape = {2, 3}, .offset_bytes = 512}}) {
    auto* const tensor = export_dlpack(host.segment, layout).value();
    CHECK(tensor->dl_tensor.ndim == static_cast<int>(layout.shape.size()));
    tensor->deleter(tensor);
  }
}

TEST_CASE("an_imported_tensor_gives_its_bytes_and_is_deleted_once") {
  const HostSegments host;
  {
    const auto tensor = ImportedTensor::import(
        export_dlpack(host.segment, {.element = kInt32, .shape = {8, 4}}).value());
    REQUIRE(tensor);
    CHECK(tensor->host_bytes()->size() == 128);
    CHECK(tensor->host_bytes()->data() == host.segment.host_bytes()->data());
    CHECK_FALSE(tensor->view().is_read_only);
    CHECK(tensor->view().layout.element == kInt32);
  }
  const auto gaps = ImportedTensor::import(
      export_dlpack_legacy(host.segment, {.shape = {8}, .strides = {2}}).value());
  REQUIRE(gaps);
  CHECK(code_of(gaps->host_bytes()) == Code::unsupported);
}

int deleted = 0;

struct Foreign {
  Foreign() {
    tensor.version = {1, 3};
    tensor.deleter = [](dlpack::ManagedTensorVersioned*) { ++deleted; };
    tensor.dl_tensor = {.data = bytes,
                        .device = {dlpack::kCpu, 0},
                        .ndim = 1,
                        .dtype = {dlpack::kUint, 8, 1},
                        .shape = &size,
                        .strides = nullptr,
                        .byte_offset = 4};
  }
  dlpack::ManagedTensorVersioned tensor{};
  std::int64_t size = 8;
  std::byte bytes[16]{};
};

TEST_CASE("tensors_of_others_are_checked_and_deleted_also_where_they_are_refused") {
  const auto refused = [](Code code, const std::function<void(Foreign&)>& spoil) {
    Foreign foreign;
    spoil(foreign);
    const int before = deleted;
    const Result<ImportedTensor> imported = ImportedTensor::import(&foreign.tensor);
    CHECK(code_of(imported) == code);
    CHECK(deleted == before + 1);
  };
  {
    Foreign foreign;
    const auto imported = ImportedTensor::import(&foreign.tensor);
    REQUIRE(imported);
    CHECK(imported->host_bytes()->data() == foreign.bytes + 4);
  }
  CHECK(deleted == 1);
  refused(Code::unsupported, [](Foreign& f) { f.tensor.version.major = 2; });
  refused(Code::unsupported, [](Foreign& f) { f.tensor.dl_tensor.device.device_type = 10; });
  refused(Code::unsupported, [](Foreign& f) { f.tensor.dl_tensor.dtype.lanes = 4; });
  refused(Code::unsupported, [](Foreign& f) { f.tensor.dl_tensor.dtype.code = 3; });
  refused(Code::invalid_argument, [](Foreign& f) { f.tensor.dl_tensor.dtype.bits = 12; });
  refused(Code::invalid_argument, [](Foreign& f) { f.tensor.dl_tensor.ndim = -1; });
  refused(Code::invalid_argument, [](Foreign& f) { f.tensor.dl_tensor.ndim = 1000; });
  refused(Code::invalid_argument, [](Foreign& f) { f.tensor.dl_tensor.shape = nullptr; });
  refused(Code::invalid_argument, [](Foreign& f) { f.size = -8; });
  refused(Code::invalid_argument, [](Foreign& f) { f.tensor.dl_tensor.data = nullptr; });
  CHECK(code_of(ImportedTensor::import(static_cast<dlpack::ManagedTensor*>(nullptr))) ==
        Code::invalid_argument);
}

TEST_CASE("a_host_segment_is_an_arrow_column_that_outlives_its_segment_value") {
  HostSegments host;
  ArrowExport column =
      export_arrow(host.segment, kInt64, {.length = 32, .offset_bytes = 256}).value();
  const std::byte* const data = host.segment.host_bytes().value().data();
  { const Segment gone = std::move(host.segment); }
  CHECK(std::string(column.schema.format) == "l");
  CHECK(column.array.device_type == arrow::kDeviceCpu);
  CHECK(column.array.device_id == -1);
  CHECK(column.array.sync_event == nullptr);
  CHECK(column.array.array.length == 32);
  CHECK(column.array.array.null_count == 0);
  CHECK(column.array.array.n_buffers == 2);
  CHECK(column.array.array.buffers[0] == nullptr);
  CHECK(column.array.array.buffers[1] == data + 256);
  column.array.array.release(&column.array.array);
  CHECK(column.array.array.release == nullptr);
  column.schema.release(&column.schema);
  CHECK(column.schema.release == nullptr);
}

TEST_CASE("what_arrow_stores_otherwise_is_refused") {
  const HostSegments host;
  const ArrowColumn column{.length = 1};
  CHECK(code_of(export_arrow(host.segment, {ElementKind::boolean, 8}, column)) ==
        Code::unsupported);
  CHECK(code_of(export_arrow(host.segment, kBfloat16, column)) == Code::unsupported);
  CHECK(code_of(export_arrow(host.segment, kInt64, {.length = 513})) == Code::invalid_argument);
  cuda::CuEvent event = nullptr;
  CHECK(code_of(export_arrow(host.segment, kInt64, {.length = 1, .written = &event})) ==
        Code::invalid_argument);
}

TEST_CASE("host_memory_has_no_cuda_array_interface") {
  const HostSegments host;
  CHECK(code_of(cuda_array_interface(host.segment, {.shape = {4}})) == Code::unsupported);
}

TEST_CASE("a_device_segment_is_a_tensor_of_its_device") {
  const test::FakeDevices fake({.devices = 2});
  CHECK(test::child_says([] {
    DeviceSegments made;
    const Segment segment = made.make("1");
    auto* const tensor = export_dlpack(segment, {.element = kFloat16, .shape = {512, 512}}).value();
    const bool is_right =
        tensor->dl_tensor.device.device_type == dlpack::kCuda &&
        tensor->dl_tensor.device.device_id == 1 &&
        reinterpret_cast<std::uint64_t>(tensor->dl_tensor.data) == segment.device_bytes()->address;
    const auto imported = ImportedTensor::import(tensor);
    return is_right && imported && imported->view().memory == MemoryKind::device &&
           code_of(imported->host_bytes()) == Code::unsupported;
  }));
}

TEST_CASE("a_tensor_keeps_the_memory_of_a_segment_that_is_gone") {
  const test::FakeDevices fake;
  CHECK(test::child_says([] {
    DeviceSegments made;
    const std::shared_ptr<cuda::Devices> devices =
        cuda::Devices::load(test::fake_driver_path()).value();
    cuda::Device& device = *devices->all().front();
    const std::uint64_t free_before = device.free_bytes().value();
    dlpack::ManagedTensorVersioned* tensor = nullptr;
    {
      const Segment segment = made.make();
      tensor = export_dlpack(segment, {.shape = {1024}}).value();
    }
    const bool is_kept = device.free_bytes().value() < free_before;
    tensor->deleter(tensor);
    return is_kept && device.free_bytes().value() == free_before;
  }));
}

TEST_CASE("a_device_segment_has_a_cuda_array_interface") {
  const test::FakeDevices fake;
  CHECK(test::child_says([] {
    DeviceSegments made;
    const Segment segment = made.make();
    const auto address = std::to_string(segment.device_bytes()->address);
    const auto dense = cuda_array_interface(segment, {.element = kFloat32, .shape = {4, 8}});
    const auto gaps = cuda_array_interface(
        segment, {.element = kUint8, .shape = {4, 8}, .strides = {16, 1}}, cuda::CuStream{});
    const auto nothing = cuda_array_interface(segment, {.shape = {0}});
    return code_of(cuda_array_interface(segment, {.element = kBfloat16, .shape = {4}})) ==
               Code::unsupported &&
           dense.value().to_json() ==
               R"({"shape": [4, 8], "typestr": "<f4", "data": [)" + address +
                   R"(, false], "version": 3, "strides": null, "stream": null})" &&
           gaps.value().to_json() ==
               R"({"shape": [4, 8], "typestr": "|u1", "data": [)" + address +
                   R"(, false], "version": 3, "strides": [16, 1], "stream": 1})" &&
           nothing.value().address == 0;
  }));
}

TEST_CASE("a_device_segment_is_an_arrow_column_with_the_event_that_orders_it") {
  const test::FakeDevices fake;
  CHECK(test::child_says([] {
    DeviceSegments made;
    const Segment segment = made.make();
    cuda::CuEvent event = nullptr;
    ArrowExport column =
        export_arrow(segment, kFloat64, {.length = 100, .written = &event}).value();
    const bool is_right = column.array.device_type == arrow::kDeviceCuda &&
                          column.array.device_id == 0 && column.array.sync_event == &event &&
                          std::string(column.schema.format) == "g";
    column.array.array.release(&column.array.array);
    column.schema.release(&column.schema);
    return is_right;
  }));
}

}  // namespace
}  // namespace strata::inline v0_1::interop
