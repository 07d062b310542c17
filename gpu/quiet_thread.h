// A thread of the library's own in somebody else's program.
//   Threads:  any may start one.
//   Lifetime: that of a std::thread: whoever starts it joins it, or detaches it.
//   Errors:   exhausted where there can be no more threads (ulimit -u, pids.max).
#pragma once

#include <functional>
#include <thread>

#include "strata/base/result.h"

namespace strata::inline v0_1::cuda {

// All signals are blocked in it: the program's handlers never run there.
Result<std::thread> start_quiet_thread(std::function<void()> body);

}  // namespace strata::inline v0_1::cuda
