// What a test has verified beyond its cases, on a line that ./check adds up over all tests.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace strata::inline v0_1 {

// report_verified(412, "kill points")
inline void report_verified(std::uint64_t count, const std::string& what) {
  std::printf("verified: %llu %s\n", static_cast<unsigned long long>(count), what.c_str());
  std::fflush(stdout);
}

}  // namespace strata::inline v0_1
