// HelperThreads help the calling thread with a piece of work, as many as there can be.
//   Threads:  the one that made them.
//   Lifetime: waits for them at its end.
//   Errors:   none: over a limit on threads (ulimit -u, pids.max) there are fewer, down to none,
//   and
//             the caller does the work alone.
#pragma once

#include <functional>
#include <thread>
#include <vector>

namespace strata::inline v0_1 {

class HelperThreads {
 public:
  // False where there can be no more threads: it does not get better by asking again soon.
  bool start(std::function<void()> work);
  void join() { threads_.clear(); }
  bool empty() const { return threads_.empty(); }

 private:
  std::vector<std::jthread> threads_;
};

// Runs `work` at once on the calling thread and up to `threads - 1` others, and returns when all
// have ended. `work` has to take its share from what is left, as it may run on one thread only.
void run_on_threads(unsigned threads, const std::function<void()>& work);

}  // namespace strata::inline v0_1
