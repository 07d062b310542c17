// Runs a function in a child process, so that a crash in it is a result and not the end.
//   Threads:  any; the child has only the calling thread, so that `body` must not wait for others.
//   Lifetime: the child is gone when the call returns, and dies when this process does.
//   Errors:   there is a value only where `body` ran to its end and its whole answer arrived.
//             corrupt: it crashed (SIGSEGV, SIGBUS, SIGABRT, SIGFPE or SIGILL, by its own doing).
//             Every other error says that nobody could look, and nothing of what `body` was to
//             look at: exhausted (no more processes, descriptors or memory, or too long an
//             answer), timed_out (the child is killed), failed_precondition (it was killed, or
//             ended early), unsupported (no pidfd: Linux before 5.4).
//   Cost:     a fork: some hundred microseconds and more for much mapped memory.
// What happened is carried by the child's own report and by a pidfd, never by a wait status: it
// is the same where the program ignores SIGCHLD, or reaps every child that it finds. A program that
// has a handler for SIGCHLD sees it called.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <mutex>
#include <string>

#include "strata/base/result.h"
#include "strata/os/deadline.h"

namespace strata::inline v0_1 {

constexpr std::uint64_t kNoProcessorLimit = std::numeric_limits<std::uint64_t>::max();

// Returns what `body` returned, in the child, at most 64 MiB. The deadline is time on the clock,
// which passes faster than the work goes on where the machine is busy; `processor_s` is what the
// child may compute. Beyond either: timed_out.
Result<std::string> run_apart(const std::function<std::string()>& body, Deadline deadline,
                              std::uint64_t processor_s = kNoProcessorLimit);

// While the result lives, run_apart starts no child. For code in which a library holds a lock of
// its own that `body` needs: the child would have it taken, and nobody to give it back.
[[nodiscard]] std::unique_lock<std::mutex> hold_back_children();

}  // namespace strata::inline v0_1
