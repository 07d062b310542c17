// Which driver the suites ask: the fake one of tests/fake_cuda, or with STRATA_TEST_DRIVER=system
// that of the machine (gpu/run_on_gpu.sh).
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

#include "tests/fake_cuda/fake_cuda.h"

namespace strata::inline v0_1::test {

inline bool is_driver_fake() {
  const char* const which = std::getenv("STRATA_TEST_DRIVER");
  return !which || std::string_view(which) != "system";
}

// For CudaOptions::driver_library.
inline std::string driver_under_test() {
  return is_driver_fake() ? fake_driver_path() : std::string();
}

}  // namespace strata::inline v0_1::test
