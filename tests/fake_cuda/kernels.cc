#include "tests/fake_cuda/kernels.h"

#include "tests/fake_cuda/entry.h"

namespace strata::fake_cuda {
namespace {

// Of tests/gpu/conformance: fills `bytes` at an address.
void conformance_fill(Launch& launch) {
  const auto address = launch.argument<CuDevicePointer>(0);
  const auto bytes = launch.argument<std::uint64_t>(1);
  char* const to = launch.write<char>(address, bytes);
  if (to) std::memset(to, launch.argument<std::uint8_t>(2), bytes);
}

// Every kernel that the fake device can run.
const std::vector<Kernel>& kernels() {
  static const auto& all = *new std::vector<Kernel>{
      {"conformance_fill", {8, 8, 1}, conformance_fill},
  };
  return all;
}

}  // namespace

char* Launch::find(CuDevicePointer address, std::uint64_t bytes, int access) {
  const std::lock_guard lock(driver_mutex());
  char* const found = find_bytes(address, bytes, access, device_, Asker::kernel);
  has_faulted_ = has_faulted_ || !found;
  return found;
}

const Kernel* find_kernel(std::string_view name) {
  for (const Kernel& kernel : kernels())
    if (kernel.name == name) return &kernel;
  return nullptr;
}

}  // namespace strata::fake_cuda
