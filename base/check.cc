#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace strata::inline v0_1 {

void check_failed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace strata::inline v0_1
