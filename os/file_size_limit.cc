#include "os/file_size_limit.h"

#include <sys/resource.h>

#include <cerrno>

#include "strata/base/bytes.h"

namespace strata::inline v0_1 {
namespace {

sigset_t only_file_size() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGXFSZ);
  return set;
}

bool is_pending() {
  sigset_t pending;
  return ::sigpending(&pending) == 0 && ::sigismember(&pending, SIGXFSZ) == 1;
}

}  // namespace

ExpectFileSizeLimit::ExpectFileSizeLimit() {
  const sigset_t set = only_file_size();
  ::pthread_sigmask(SIG_BLOCK, &set, &mask_before_);
  was_pending_ = is_pending();
}

ExpectFileSizeLimit::~ExpectFileSizeLimit() {
  const int error = errno;
  const sigset_t set = only_file_size();
  const timespec now{};
  // One that the program itself has blocked, and waits for, is left to it.
  if (!was_pending_) (void)::sigtimedwait(&set, nullptr, &now);
  ::pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
  errno = error;
}

std::string file_size_limit_hint(int sys_errno) {
  rlimit limit{};
  if (sys_errno != EFBIG || ::getrlimit(RLIMIT_FSIZE, &limit) != 0 ||
      limit.rlim_cur == RLIM_INFINITY) {
    return {};
  }
  return "; RLIMIT_FSIZE of this process (ulimit -f) is " + format_bytes(limit.rlim_cur) +
         ": raise it";
}

}  // namespace strata::inline v0_1
