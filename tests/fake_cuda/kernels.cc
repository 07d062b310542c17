#include "tests/fake_cuda/kernels.h"

#include "base/check.h"
#include "tests/fake_cuda/entry.h"

namespace strata::inline v0_1::fake_cuda {
namespace {

// For tests of the fake itself: fills `bytes` at an address.
void fake_fill(Launch& launch) {
  const auto address = launch.argument<CuDevicePointer>(0);
  const auto bytes = launch.argument<std::uint64_t>(1);
  char* const to = launch.write<char>(address, bytes);
  if (to) std::memset(to, launch.argument<std::uint8_t>(2), bytes);
}

// The kernels of Strata, from their own source.
template <typename... Arguments>
void run_own(Launch& launch, std::string_view name, Arguments... arguments) {
  if (launch.has_faulted()) return;
  void* parameters[] = {&arguments...};
  STRATA_CHECK(test::run_kernel_on_host(name, launch.shape(), parameters));
}

void fill(Launch& launch) {
  const auto bytes = launch.argument<std::uint64_t>(1);
  run_own(launch, "strata_fill", launch.write<char>(launch.argument<CuDevicePointer>(0), bytes),
          bytes, launch.argument<std::uint64_t>(2));
}

void find_difference(Launch& launch) {
  const auto bytes = launch.argument<std::uint64_t>(2);
  run_own(launch, "strata_find_difference",
          launch.read<char>(launch.argument<CuDevicePointer>(0), bytes),
          launch.read<char>(launch.argument<CuDevicePointer>(1), bytes), bytes,
          launch.write<std::uint64_t>(launch.argument<CuDevicePointer>(3), 1));
}

void hash_blocks(Launch& launch) {
  const auto bytes = launch.argument<std::uint64_t>(1);
  const auto block_bytes = launch.argument<std::uint64_t>(2);
  const std::uint64_t blocks = (bytes + block_bytes - 1) / block_bytes;
  run_own(launch, "strata_hash_blocks",
          launch.read<char>(launch.argument<CuDevicePointer>(0), bytes), bytes, block_bytes,
          launch.write<std::uint64_t>(launch.argument<CuDevicePointer>(3), 2 * blocks));
}

// Every kernel that the fake device can run.
const std::vector<Kernel>& kernels() {
  static const auto& all = *new std::vector<Kernel>{
      {"fake_fill", {8, 8, 1}, fake_fill},
      {"strata_fill", {8, 8, 8}, fill},
      {"strata_find_difference", {8, 8, 8, 8}, find_difference},
      {"strata_hash_blocks", {8, 8, 8, 8}, hash_blocks},
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

}  // namespace strata::inline v0_1::fake_cuda
