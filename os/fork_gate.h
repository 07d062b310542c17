// While somebody holds the gate, this process is not forked: a fork in another thread waits. It is
// for the moments in which what a child must not find half made, or locked, is being made.
//   Threads:  any; one at a time holds it, for moments.
//   Errors:   none. Who forks while it holds the gate itself waits for ever.
//   Cost:     a mutex, and another lock and unlock of it in each fork().
// vfork(), posix_spawn() and a clone() by hand pass it by; what they start is another program.
#pragma once

namespace strata::inline v0_1 {

class ForkGate {
 public:
  ForkGate();
  ~ForkGate();
  ForkGate(const ForkGate&) = delete;
  ForkGate& operator=(const ForkGate&) = delete;
};

}  // namespace strata::inline v0_1
