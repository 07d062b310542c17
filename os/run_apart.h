// Runs a function in a child process, so that a crash in it is a result and not the end.
//   Threads:  any; the child has only the calling thread, so that `body` must not wait for others.
//   Errors:   exhausted where there can be no more processes; timed_out, the child then killed;
//             corrupt with the signal where it died of one; failed_precondition where somebody
//             killed it (SIGKILL), which says nothing of `body`.
//   Cost:     a fork: some hundred microseconds and more for much mapped memory.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "os/deadline.h"

namespace strata {

// Returns what `body` returned, in the child, up to 64 KiB of it.
Result<std::string> run_apart(const std::function<std::string()>& body, Deadline deadline);

}  // namespace strata
