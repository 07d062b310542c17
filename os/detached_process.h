// Starts a program that goes on when this process, its session and its terminal are gone.
//   Threads:  any.
//   Lifetime: the program is nobody's child and in a session of its own. It inherits no descriptor
//             but its standard ones, blocks no signal, and ignores SIGHUP.
//   Errors:   failed_precondition with what the program wrote on its standard error where it ended
//             before it was ready; timed_out: it ends at its first line then, by SIGPIPE;
//             exhausted where there can be no more processes.
//   Cost:     two forks and an exec.
// The program says that it is ready by a first line on its standard output, and writes nothing
// there afterwards: nobody listens.
#pragma once

#include <string>
#include <vector>

#include "strata/base/result.h"
#include "strata/os/deadline.h"

namespace strata::inline v0_1 {

// Returns the first line, once it is there. `command`: the program, found as a shell finds it, and
// its arguments.
Result<std::string> start_detached(const std::vector<std::string>& command, Deadline deadline);

}  // namespace strata::inline v0_1
