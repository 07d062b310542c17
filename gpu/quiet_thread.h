// A thread of the library's own in somebody else's program.
//   Threads:  any may start one.
//   Lifetime: it is not waited for: it ends with `body`, or with the process.
//   Errors:   exhausted where there can be no more threads (ulimit -u, pids.max).
#pragma once

#include <functional>

#include "base/result.h"

namespace strata::cuda {

// All signals are blocked in it: the program's handlers never run there.
Result<void> start_quiet_thread(std::function<void()> body);

}  // namespace strata::cuda
