#include "strata/base/step.h"

#ifdef STRATA_STEPS

#include <atomic>
#include <csignal>

namespace strata::inline v0_1 {
namespace {

// Test-only state: it exists in `_stepped` builds alone.
std::atomic<std::uint64_t> passed{0};
std::atomic<std::uint64_t> kill_at{0};
std::atomic<const char*> last{""};

}  // namespace

void step(const char* where) {
  last = where;
  if (++passed == kill_at) raise(SIGKILL);
}

void kill_at_step(std::uint64_t n) {
  passed = 0;
  kill_at = n;
}

std::uint64_t steps_passed() { return passed; }

const char* last_step() { return last; }

}  // namespace strata::inline v0_1

#endif
