// A number that differs between the threads of all processes, mostly: where to begin to look
// for a free place, so that threads meet seldom. Nothing depends on it but speed.
#pragma once

#include <cstdint>

namespace strata::inline v0_1 {

inline std::uint32_t thread_hint(std::uint32_t token) {
  thread_local const char anchor = 0;
  // Forked processes have their thread-locals at one address: the token tells them apart.
  const std::uint64_t place = reinterpret_cast<std::uintptr_t>(&anchor) >> 6;
  return static_cast<std::uint32_t>(((place + token) * 0x9E3779B97F4A7C15) >> 40);
}

}  // namespace strata::inline v0_1
