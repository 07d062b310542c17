// Two processes that do something at the same time, again and again: this one, and a child that
// waits for its next order. Starting the child stays out of what is measured.
#pragma once

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <vector>

#include "strata/os/deadline.h"
#include "strata/sync/wait.h"
#include "sync/sync_testing.h"

namespace strata::inline v0_1 {

// The CPUs that this process may use.
inline std::vector<int> allowed_cpus() {
  RealOs os;
  return os.get_affinity().value();
}

inline void run_on(int cpu) {
  RealOs os;
  (void)os.set_affinity(std::span(&cpu, 1));
}

class ProcessPair {
 public:
  enum class Side : int { parent = 0, child = 1 };
  using Task = std::function<void(Side)>;

  // All tasks are named before the child starts, as it has to know them. On two CPUs if
  // `cpu_of_child` differs from `cpu_of_parent`.
  ProcessPair(std::vector<Task> tasks, int cpu_of_parent, int cpu_of_child)
      : tasks_(std::move(tasks)) {
    run_on(cpu_of_parent);
    child_ = fork();
    if (child_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      run_on(cpu_of_child);
      obey();
    }
  }
  ~ProcessPair() {
    kill(child_, SIGKILL);
    int status = 0;
    waitpid(child_, &status, 0);
  }
  ProcessPair(const ProcessPair&) = delete;
  ProcessPair& operator=(const ProcessPair&) = delete;

  // From the moment that both begin to the moment that both are done.
  double run(std::size_t task) {
    state_->task = static_cast<int>(task);
    const int round = ++state_->ordered;
    pause_until([&] { return state_->ready == round; });
    const std::uint64_t since_ns = monotonic_ns();
    state_->begun = round;
    tasks_[task](Side::parent);
    pause_until([&] { return state_->done == round; });
    return static_cast<double>(monotonic_ns() - since_ns);
  }

 private:
  struct State {
    std::atomic<int> task{0}, ordered{0}, ready{0}, begun{0}, done{0};
  };

  // The other one may need this very CPU: so yield after a while.
  template <typename Done>
  static void pause_until(Done done) {
    for (unsigned i = 0; !done(); ++i) {
      if (i < 1000) {
        relax_cpu();
      } else {
        sched_yield();
      }
      if (getppid() == 1) _exit(0);
    }
  }

  [[noreturn]] void obey() {
    for (int round = 1;; ++round) {
      while (state_->ordered < round) {
        usleep(50);
        if (getppid() == 1) _exit(0);
      }
      state_->ready = round;
      pause_until([&] { return state_->begun == round; });
      tasks_[state_->task](Side::child);
      state_->done = round;
    }
  }

  std::vector<Task> tasks_;
  test::Shared<State> state_;
  pid_t child_ = 0;
};

}  // namespace strata::inline v0_1
