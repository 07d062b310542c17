// RLIMIT_FSIZE (ulimit -f) bounds how long a process may make a file. Beyond it the kernel not only
// fails the call with EFBIG, it also sends SIGXFSZ, which ends a process that does not expect it.
//   Threads:  the one that made it.
//   Cost:     three system calls: some hundred nanoseconds.
// os/ uses it for its own calls; it is for those that libraries make.
#pragma once

#include <signal.h>

#include <string>

namespace strata::inline v0_1 {

// While it lives, this thread does not take SIGXFSZ; one that was sent meanwhile is gone
// afterwards. Nothing else of the process's signals changes.
class ExpectFileSizeLimit {
 public:
  ExpectFileSizeLimit();
  ~ExpectFileSizeLimit();
  ExpectFileSizeLimit(const ExpectFileSizeLimit&) = delete;
  ExpectFileSizeLimit& operator=(const ExpectFileSizeLimit&) = delete;

 private:
  sigset_t mask_before_;
  bool was_pending_;
};

// For messages: "; RLIMIT_FSIZE of this process (ulimit -f) is 1 MiB: raise it" where `sys_errno`
// is EFBIG and there is such a limit, else nothing.
std::string file_size_limit_hint(int sys_errno);

}  // namespace strata::inline v0_1
