// While somebody holds the gate, this process is not forked: a fork in another thread waits. It is
// for the moments in which what a child must not find half made, or locked, is being made.
//   Threads:  any; one at a time holds it, for moments.
//   Errors:   none. Who forks while it holds the gate itself waits for ever.
//   Cost:     a mutex, and another lock and unlock of it in each fork().
// vfork(), posix_spawn() and a clone() by hand pass it by; what they start is another program.
#pragma once

#include "strata/os/fd.h"

namespace strata::inline v0_1 {

class ForkGate {
 public:
  ForkGate();
  ~ForkGate();
  ForkGate(const ForkGate&) = delete;
  ForkGate& operator=(const ForkGate&) = delete;
};

// A descriptor that forked children do not inherit: fork() closes it in them, so that what belongs
// to its open file, as locks do, ends with this process.
//   Threads:  made and ended by any.
class UnsharedFd {
 public:
  // The gate is held, by the one who makes it.
  UnsharedFd(Fd fd, const ForkGate& gate);
  ~UnsharedFd();
  UnsharedFd(const UnsharedFd&) = delete;
  UnsharedFd& operator=(const UnsharedFd&) = delete;

  // -1 in a forked child.
  int get() const { return fd_.get(); }

 private:
  friend struct UnsharedFds;

  Fd fd_;
  UnsharedFd* before_ = nullptr;
  UnsharedFd* next_;
};

}  // namespace strata::inline v0_1
