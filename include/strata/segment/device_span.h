// A DeviceSpan is memory of a device: the host cannot dereference it, and hands it to the device's
// own calls.
#pragma once

#include <array>
#include <cstdint>

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

struct DeviceSpan {
  std::uint64_t address = 0;  // as the device's driver knows it, in this process
  std::uint64_t bytes = 0;
  std::array<std::uint8_t, 16> device_uuid{};
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
