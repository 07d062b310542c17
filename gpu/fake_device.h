// A driver of tests, which stands in for a GPU and says so in the UUIDs of its devices. What is
// measured on it is about itself, and about no hardware.
#pragma once

#include <string_view>

#include "strata/gpu/device.h"

namespace strata::inline v0_1::cuda {

inline bool is_fake(const DeviceUuid& uuid) {
  const std::string_view text(reinterpret_cast<const char*>(uuid.data()), uuid.size());
  return text.find("FAKE") != std::string_view::npos;
}

}  // namespace strata::inline v0_1::cuda
