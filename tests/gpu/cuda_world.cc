#include "tests/gpu/cuda_world.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>

#include "gpu/driver.h"
#include "strata/gpu/device.h"
#include "tests/catch.h"
#include "tests/gpu/told_by_child.h"

namespace strata::inline v0_1::test {
namespace {

CudaOptions without_driver(const std::string& directory) {
  return {.directory = directory, .driver_library = "/nowhere/libcuda.so.1", .holder_command = {}};
}

// As a user of the library opens one in a child: with a backend that lives as long as the process.
Backend& backend_of_child(const CudaOptions& options) {
  static auto& os = *new RealOs;
  return *new CudaBackend(os, options);
}

}  // namespace

TimeBudget::TimeBudget() {
  if (std::getenv("STRATA_TEST_SECONDS")) {
    end_ = std::chrono::steady_clock::now() +
           std::chrono::milliseconds(static_cast<long>(1000 * soak_seconds(0)));
  }
}

bool TimeBudget::is_spent() const { return end_ && std::chrono::steady_clock::now() >= *end_; }

double soak_seconds(double otherwise) {
  const char* text = std::getenv("STRATA_TEST_SECONDS");
  return text ? std::atof(text) : otherwise;
}

unsigned random_seed() {
  const char* text = std::getenv("STRATA_SEED");
  const unsigned seed =
      text ? static_cast<unsigned>(std::strtoul(text, nullptr, 0)) : std::random_device{}();
  std::printf("seed: STRATA_SEED=%u\n", seed);
  return seed;
}

CudaWorld::CudaWorld(const FakeMachine& machine) : tools(os, without_driver(directory_.path())) {
  if (!is_driver_fake()) return;
  devices_.emplace(machine);
  // A file for each of thousands of processes: only where a test wants them.
  devices_->set("COUNTS", "");
}

CudaOptions CudaWorld::options() const {
  CudaOptions options = without_driver(directory_.path());
  options.driver_library = driver_under_test();
  if (devices_) options.device_directory = devices_->directory();
  return options;
}

std::vector<std::string> CudaWorld::listing() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory())) {
    names.push_back(entry.path().string().substr(directory().size() + 1) +
                    (entry.is_directory() ? "/" : ""));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::uint64_t CudaWorld::device_bytes() const {
  const std::string told = told_by_child([&]() -> std::string {
    const auto bytes = device_bytes_here(options());
    return bytes ? std::to_string(*bytes) : bytes.error().to_string();
  });
  char* end = nullptr;
  const std::uint64_t bytes = std::strtoull(told.c_str(), &end, 10);
  if (told.empty() || *end != '\0') FAIL("device bytes: " << told);
  return bytes;
}

Result<std::uint64_t> device_bytes_here(const CudaOptions& options) {
  std::uint64_t bytes = 0;
  if (!is_driver_fake()) return bytes;
  STRATA_ASSIGN(const auto devices, cuda::Devices::load(options.driver_library));
  for (const auto& device : devices->all()) {
    STRATA_ASSIGN(const std::uint64_t free, device->free_bytes());
    bytes += device->total_bytes() - free;
  }
  return bytes;
}

std::unique_ptr<Keeper> CudaWorld::keep_new(const SegmentUri& uri, const CreateOptions& options,
                                            Access stays, Place place) {
  const auto open = [&]() -> Result<Segment> {
    Backend& backend = backend_of_child(this->options());
    STRATA_ASSIGN(Segment made, create_filled(backend, uri, options));
    if (stays == Access::read_write) return made;
    return backend.attach(uri, {.access = stays});
  };
  return std::make_unique<Keeper>(open, place);
}

std::unique_ptr<Keeper> CudaWorld::keep_attached(const SegmentUri& uri,
                                                 const AttachOptions& options, Place place) {
  const auto open = [&] { return backend_of_child(this->options()).attach(uri, options); };
  return std::make_unique<Keeper>(open, place);
}

CreateOptions device_segment(Publish publish) {
  CreateOptions options;
  options.payload_bytes = kTestBytes;
  options.publish = publish;
  return options;
}

Result<Segment> create_filled(Backend& backend, const SegmentUri& uri, CreateOptions options) {
  options.publish = Publish::by_creator;
  STRATA_ASSIGN(Segment made, backend.create(uri, options));
  STRATA_TRY(made.write(0, pattern(made.payload_bytes())));
  STRATA_TRY(made.publish());
  return made;
}

std::map<std::string, std::uint64_t> driver_calls() {
  std::map<std::string, std::uint64_t> counts;
#define STRATA_TEST_COUNT(name, version, need, parameters) \
  if (const std::uint64_t calls = fake_calls(#name)) counts[#name] = calls;
  STRATA_CUDA_CALLS(STRATA_TEST_COUNT)
#undef STRATA_TEST_COUNT
  return counts;
}

}  // namespace strata::inline v0_1::test
