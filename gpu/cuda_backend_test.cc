// Device segments between real processes. The driver is a fake one: it proves the protocol, the
// lifetimes and the errors, and nothing about hardware.
#include "gpu/cuda_backend.h"

#include <fcntl.h>

#include <cstring>
#include <functional>

#include "gpu/driver.h"
#include "gpu/exchange_testing.h"
#include "gpu/explain.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/temp_dir.h"

using namespace strata;
using namespace strata::test;

namespace {

// One fake machine, with a directory of segments. Whoever uses the driver is a child of the test.
struct Machine {
  FakeDevices fake{{.devices = 2}};
  TempDir directory{"/dev/shm"};

  CudaOptions options(const std::string& library = fake_driver_path()) {
    return {.directory = directory.path(),
            .driver_library = library,
            .device_directory = fake.directory()};
  }
};

const SegmentUri kMesh{"cuda", {}, "mesh"};
constexpr std::uint64_t kBytes = 100'000;

// What a child of a test works with.
struct Process {
  explicit Process(Machine& machine) : backend(os, machine.options()) {}

  Segment create(CreateOptions options = {}) {
    if (options.payload_bytes == 0) options.payload_bytes = kBytes;
    return must(backend.create(kMesh, std::move(options)));
  }
  Segment attach(const AttachOptions& options = {}) { return must(backend.attach(kMesh, options)); }

  static Segment must(Result<Segment> made) {
    if (!made) std::fprintf(stderr, "%s\n", made.error().to_string().c_str());
    STRATA_CHECK(made.has_value());
    return std::move(*made);
  }

  RealOs os;
  CudaBackend backend;
};

void fill(Segment& segment, int seed) {
  std::vector<std::byte> bytes(segment.payload_bytes());
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>((i * 31 + static_cast<unsigned>(seed)) & 0xff);
  STRATA_CHECK(segment.write(0, bytes).has_value());
  STRATA_CHECK(segment.settle().has_value());
}

bool holds(const Segment& segment, int seed) {
  std::vector<std::byte> bytes(segment.payload_bytes());
  if (!segment.read(0, bytes)) return false;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if (bytes[i] != static_cast<std::byte>((i * 31 + static_cast<unsigned>(seed)) & 0xff))
      return false;
  return true;
}

bool says(const Status& status, std::string_view text) {
  const bool does = status.message().find(text) != std::string::npos;
  if (!does)
    std::fprintf(stderr, "not '%s' in: %s\n", std::string(text).c_str(),
                 status.to_string().c_str());
  return does;
}

template <typename T>
bool fails(const Result<T>& result, Code code, std::string_view text = "") {
  if (!result && result.error().code() == code) return says(result.error(), text);
  std::fprintf(stderr, "%s\n", result ? "it succeeded" : result.error().to_string().c_str());
  return false;
}

}  // namespace

TEST_CASE("another_process_attaches_the_same_bytes_after_the_producer_was_killed") {
  Machine machine;
  Peer producer([&](const auto& stay) {
    Process self(machine);
    Segment mesh = self.create();
    fill(mesh, 7);
    stay();
  });
  Peer consumer([&](const auto& stay) {
    Process self(machine);
    Segment mesh = self.attach();
    stay();
  });
  producer.kill();
  CHECK(child_says([&] {
    Process self(machine);
    return holds(self.attach({.access = Access::read_only}), 7);
  }));
  consumer.kill();
  // Nobody is attached any more, and the memory is gone.
  CHECK(child_says([&] {
    Process self(machine);
    return fails(self.backend.attach(kMesh, {}), Code::not_found);
  }));
}

TEST_CASE("new_memory_is_zero_and_of_the_device_that_was_asked_for") {
  Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment mesh = self.create({.payload_bytes = kBytes, .device = {.device = "1"}});
    std::vector<std::byte> bytes(kBytes, std::byte{1});
    STRATA_CHECK(mesh.read(0, bytes).has_value());
    const auto span = mesh.device_bytes();
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; }) &&
           span && span->bytes == kBytes &&
           cuda::device_uuid_text(span->device_uuid) == fake_device_uuid(1);
  }));
}

TEST_CASE("what_device_memory_cannot_is_refused_with_the_reason") {
  Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    const auto create = [&](CreateOptions options) {
      options.payload_bytes = kBytes;
      return self.backend.create(kMesh, std::move(options));
    };
    return fails(create({.mode = 0640}), Code::unsupported, "one user") &&
           fails(create({.lifetime = Lifetime::until_removed}), Code::unsupported,
                 "strata gpu hold") &&
           fails(create({.device = {.device = "7"}}), Code::no_device, "there is") &&
           fails(create({.device = {.device = "GPU-xyz"}}), Code::invalid_argument) &&
           fails(create({.device = {.mechanism = DeviceMechanism::fabric}}), Code::unsupported) &&
           fails(create({.placement = on_node(0)}), Code::unsupported) &&
           self.backend.list({})->empty();
  }));
}

TEST_CASE("automatic_is_never_another_mechanism_than_a_descriptor") {
  Machine machine;
  machine.fake.set("ATTRIBUTES", "103=0");
  CHECK(child_says([&] {
    Process self(machine);
    const auto automatic = self.backend.create(kMesh, {.payload_bytes = kBytes});
    const Segment chosen = self.create({.device = {.mechanism = DeviceMechanism::legacy_ipc}});
    return fails(automatic, Code::unsupported, "map_to_device") &&
           self.backend.stat(kMesh)->device->mechanism == DeviceMechanism::legacy_ipc;
  }));
}

TEST_CASE("memory_of_another_allocator_is_adopted_with_base_and_offset") {
  Machine machine;
  Peer owner([&](const auto& stay) {
    Process self(machine);
    const auto devices = self.backend.devices();
    STRATA_CHECK(devices.has_value());
    cuda::Device& device = *(*devices)->all().front();
    const auto scope = device.enter();
    cuda::CuDevicePointer whole = 0;
    STRATA_CHECK(device.driver().call().cuMemAlloc(&whole, MiB(1)) == cuda::kSuccess);
    const auto beyond = self.backend.adopt({"cuda", {}, "beyond"}, whole + MiB(3), MiB(2));
    STRATA_CHECK(!beyond);
    Segment mesh = Process::must(self.backend.adopt(kMesh, whole + 4096, kBytes));
    fill(mesh, 3);
    stay();
  });
  CHECK(child_says([&] {
    Process self(machine);
    const Segment mesh = self.attach();
    return holds(mesh, 3) && self.backend.stat(kMesh)->identity.lifetime ==
                                 static_cast<std::uint32_t>(Lifetime::process);
  }));
  owner.kill();
  CHECK(child_says([&] {
    Process self(machine);
    return fails(self.backend.attach(kMesh, {}), Code::failed_precondition, "exporter");
  }));
}

TEST_CASE("memory_that_has_no_ipc_handle_is_not_adopted") {
  Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment mesh = self.create();
    const auto address = mesh.device_bytes()->address;
    std::vector<std::byte> host(4096);
    const auto host_address = reinterpret_cast<std::uintptr_t>(host.data());
    return fails(self.backend.adopt({"cuda", {}, "b"}, address, 4096), Code::unsupported,
                 "cudaMalloc") &&
           fails(self.backend.adopt({"cuda", {}, "c"}, host_address, 4096), Code::invalid_argument);
  }));
}

TEST_CASE("a_device_that_cannot_be_reached_is_named_with_the_one_that_was_asked_for") {
  Machine machine;
  Peer producer([&](const auto& stay) {
    Process self(machine);
    Segment mesh = self.create({.device = {.device = "1"}});
    fill(mesh, 9);
    stay();
  });
  CHECK(child_says([&] {
    Process self(machine);
    return holds(self.attach({.device = "0"}), 9);
  }));
  machine.fake.set("PEER", "0");
  CHECK(child_says([&] {
    Process self(machine);
    const auto far = self.backend.attach(kMesh, {.device = "0"});
    return fails(far, Code::wrong_device, fake_device_uuid(0)) &&
           says(far.error(), fake_device_uuid(1)) && holds(self.attach(), 9);
  }));
  CHECK(child_says([&] {
    setenv("CUDA_VISIBLE_DEVICES", "0", 1);
    Process self(machine);
    return fails(self.backend.attach(kMesh, {}), Code::wrong_device, "CUDA_VISIBLE_DEVICES");
  }));
  producer.kill();
}

TEST_CASE("a_reader_cannot_write_neither_by_a_copy_nor_by_the_driver") {
  Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment mesh = self.create();
    fill(mesh, 1);
    Segment reader = self.attach({.access = Access::read_only});
    const std::array<std::byte, 4> bytes{};
    const auto scope = (*CudaPayload::of(reader))->device().enter();
    const cuda::CuResult forced =
        (*CudaPayload::of(reader))
            ->device()
            .driver()
            .call()
            .cuMemcpyHtoD(reader.device_bytes()->address, bytes.data(), bytes.size());
    return fails(reader.write(0, bytes), Code::failed_precondition) && forced != cuda::kSuccess &&
           holds(mesh, 1);
  }));
}

TEST_CASE("a_process_that_was_forked_after_the_driver_was_started_is_told_so") {
  Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment mesh = self.create();
    fill(mesh, 5);
    const bool is_told = child_says([&] {
      std::array<std::byte, 8> bytes{};
      return fails(mesh.read(0, bytes), Code::failed_precondition, "forked") &&
             fails(self.backend.attach(kMesh, {}), Code::failed_precondition, "forked");
    });
    return is_told && holds(mesh, 5);
  }));
}

TEST_CASE("without_a_driver_segments_are_seen_and_removed_and_creating_says_what_is_missing") {
  Machine machine;
  Peer producer([&](const auto& stay) {
    Process self(machine);
    Segment mesh = self.create();
    stay();
  });
  RealOs os;
  CudaBackend without(os, machine.options("/nowhere/libcuda.so.1"));
  const auto facts = without.stat(kMesh);
  REQUIRE(facts);
  REQUIRE(facts->device);
  CHECK(facts->device->mechanism == DeviceMechanism::vmm_fd);
  CHECK(facts->device->allocation_bytes >= kBytes);
  CHECK(facts->is_attached);
  CHECK(fails(without.create({"cuda", {}, "other"}, {.payload_bytes = 1}), Code::no_driver));
  CHECK(fails(without.attach(kMesh, {}), Code::no_driver));
  CHECK(fails(without.remove(kMesh, {}), Code::failed_precondition));
  const auto explained = explain_segment(without, kMesh);
  REQUIRE(explained);
  CHECK(explained->mechanisms.at(0).is_chosen);
  producer.kill();
  const auto decisions = without.reclaim({}, {});
  REQUIRE(decisions);
  REQUIRE(decisions->size() == 1);
  CHECK(decisions->at(0).was_reclaimed);
  CHECK(without.list({})->empty());
}

TEST_CASE("a_header_that_lies_is_refused_before_anything_is_mapped") {
  Machine machine;
  Peer producer([&](const auto& stay) {
    Process self(machine);
    Segment mesh = self.create();
    stay();
  });
  const std::string path = machine.directory.path() + "/strata-cuda.mesh";
  struct Lie {
    std::function<void(ExportBlock&)> tell;
    Code code;
  };
  const std::vector<Lie> lies = {
      {[](ExportBlock& b) { b.allocation_bytes = 4096; }, Code::corrupt},
      {[](ExportBlock& b) { b.offset_bytes = b.allocation_bytes - 1; }, Code::corrupt},
      {[](ExportBlock& b) { b.mechanism = 77; }, Code::unsupported},
      {[](ExportBlock& b) { b.device_uuid[3] ^= 1; }, Code::wrong_device},
      // The driver does not map more than there is.
      {[](ExportBlock& b) { b.allocation_bytes *= 2; }, Code::invalid_argument},
  };
  const int fd = ::open(path.c_str(), O_RDWR);
  REQUIRE(fd >= 0);
  ExportBlock honest{};
  constexpr off_t kAt = offsetof(HeaderPage, backend);
  REQUIRE(::pread(fd, &honest, sizeof honest, kAt) == sizeof honest);
  for (const Lie& lie : lies) {
    ExportBlock block = honest;
    lie.tell(block);
    sign(block);
    REQUIRE(::pwrite(fd, &block, sizeof block, kAt) == sizeof block);
    CHECK(child_says([&] {
      Process self(machine);
      return fails(self.backend.attach(kMesh, {}), lie.code);
    }));
  }
  REQUIRE(::pwrite(fd, &honest, sizeof honest, kAt) == sizeof honest);
  ::close(fd);
  CHECK(child_says([&] {
    Process self(machine);
    return self.backend.attach(kMesh, {}).has_value();
  }));
  producer.kill();
}
