// A process with both kinds of memory, on a fake machine: for tests of what moves bytes between
// them.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "gpu/cuda_backend.h"
#include "gpu/driver.h"
#include "shm/shm_backend.h"
#include "strata/gpu/device.h"
#include "tests/child.h"
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/temp_dir.h"

namespace strata::inline v0_1::test {

using namespace cuda;

inline constexpr std::uint64_t kBytes = MiB(20) + 12'345;

struct Machine {
  explicit Machine(FakeMachine machine = {.devices = 2}) : fake(std::move(machine)) {}
  FakeDevices fake;
  TempDir directory{"/dev/shm"};
};

template <typename T>
T must(Result<T> made) {
  if (!made) std::fprintf(stderr, "%s\n", made.error().to_string().c_str());
  STRATA_CHECK(made.has_value());
  if constexpr (!std::is_void_v<T>) return std::move(*made);
}

template <typename T>
bool fails(const Result<T>& result, Code code, std::string_view text = "") {
  if (!result && result.error().code() == code &&
      result.error().message().find(text) != std::string::npos) {
    return true;
  }
  std::fprintf(stderr, "%s\n", result ? "it succeeded" : result.error().to_string().c_str());
  return false;
}

// What a child of a test works with.
struct Process {
  explicit Process(const Machine& machine)
      : shm(os, {machine.directory.path(), {}, {}}),
        gpu(os, {.directory = machine.directory.path(),
                 .driver_library = fake_driver_path(),
                 .device_directory = machine.fake.directory()}),
        devices(must(gpu.devices())) {}

  Segment on_host(const std::string& name, std::uint64_t bytes = kBytes) {
    CreateOptions options;
    options.payload_bytes = bytes;
    options.max_bytes = bytes + MiB(4);
    return must(shm.create({"shm", {}, name}, options));
  }
  Segment on_device(const std::string& name, int device = 0, std::uint64_t bytes = kBytes) {
    CreateOptions options;
    options.payload_bytes = bytes;
    options.device.device = std::to_string(device);
    return must(gpu.create({"cuda", {}, name}, options));
  }
  Device& device(std::size_t number = 0) { return *devices->all()[number]; }
  void wait() {
    const auto scope = must(device().enter());
    must(STRATA_CUDA(device().driver(), cuCtxSynchronize));
  }

  RealOs os;
  ShmBackend shm;
  CudaBackend gpu;
  std::shared_ptr<Devices> devices;
};

inline std::vector<std::byte> pattern(std::uint64_t bytes, unsigned seed = 1) {
  std::vector<std::byte> content(bytes);
  for (std::size_t i = 0; i < bytes; ++i)
    content[i] = static_cast<std::byte>(((i + seed) * 2'654'435'761U) >> 13);
  return content;
}

inline std::vector<std::byte> bytes_of(const Segment& segment) {
  std::vector<std::byte> content(segment.payload_bytes());
  must(segment.read(0, content));
  return content;
}

inline std::int64_t calls(const char* name) { return static_cast<std::int64_t>(fake_calls(name)); }
inline std::int64_t registered() {
  return calls("cuMemHostRegister") - calls("cuMemHostUnregister");
}

// Runs `work` with its first, second, … call of the driver failing, until none does, and `check`
// after each. Returns how many there were.
template <typename Work, typename Check>
int fail_each_call(Work work, Check check) {
  for (int n = 1;; ++n) {
    forget_fake_failures();
    fail_fake_call("*", static_cast<std::uint64_t>(n), kOutOfMemory);
    const std::uint64_t before = fake_calls("*");
    const Result<void> done = work();
    const bool was_reached = fake_calls("*") - before >= static_cast<std::uint64_t>(n);
    forget_fake_failures();
    check(done);
    if (!was_reached) {
      must(done);
      return n - 1;
    }
  }
}

}  // namespace strata::inline v0_1::test
