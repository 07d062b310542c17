#include "pmem/device_state.h"

#include <fmt/format.h>
#include <libpmem2.h>

#include <array>
#include <cstring>

namespace strata::inline v0_1 {
namespace {

// struct shutdown_state of PMDK 1.12.
struct DeviceState {
  std::uint64_t unsafe_shutdowns;
  std::uint64_t device;
  std::uint8_t is_dirty;
  std::array<std::uint8_t, 39> reserved;
  std::uint64_t checksum;
};
static_assert(sizeof(DeviceState) == kObjDeviceStateBytes);

// Fletcher64, as PMDK does it: the checksum itself counts as zero.
std::uint64_t checksum_of(DeviceState state) {
  state.checksum = 0;
  std::array<std::uint32_t, sizeof state / 4> words;
  std::memcpy(words.data(), &state, sizeof state);
  std::uint32_t low = 0, high = 0;
  for (const std::uint32_t word : words) {
    low += word;
    high += low;
  }
  return std::uint64_t{high} << 32 | low;
}

std::uint64_t count_unsafe_shutdowns(int fd) {
  pmem2_source* source = nullptr;
  if (pmem2_source_from_fd(&source, fd) != 0) return 0;
  std::uint64_t count = 0;
  if (pmem2_source_device_usc(source, &count) != 0) count = 0;
  pmem2_source_delete(&source);
  return count;
}

}  // namespace

std::string device_failure(Os& os, int pool_fd) {
  std::uint32_t features = 0;
  DeviceState state{};
  const auto got = os.pread(pool_fd, std::as_writable_bytes(std::span(&features, 1)),
                            kObjIncompatibleFeaturesAt);
  if (!got || (features & kObjHasDeviceState) == 0) return {};
  const auto bytes = std::as_writable_bytes(std::span(&state, 1));
  if (os.pread(pool_fd, bytes, kObjDeviceStateAt).value_or(0) != bytes.size()) return {};
  // With a wrong checksum libpmemobj begins the state anew.
  if (state.is_dirty == 0 || checksum_of(state) != state.checksum) return {};
  const std::uint64_t now = count_unsafe_shutdowns(pool_fd);
  if (now == state.unsafe_shutdowns) return {};
  return fmt::format(
      "its device shut down unsafely while it was open ({} times up to then, {} now): stores may "
      "be missing, and libpmemobj refuses it",
      state.unsafe_shutdowns, now);
}

}  // namespace strata::inline v0_1
