#include "gpu/quiet_thread.h"

#include <pthread.h>
#include <signal.h>

#include <string>
#include <system_error>

namespace strata::inline v0_1::cuda {

Result<std::thread> start_quiet_thread(std::function<void()> body) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  // A thread begins with the mask of the one that starts it.
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread started;
  std::string problem;
  try {
    started = std::thread(std::move(body));
  } catch (const std::system_error& error) {
    problem = error.what();
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (problem.empty()) return started;
  return fail(Code::exhausted, "no thread can be started (" + problem + "): raise ulimit -u");
}

}  // namespace strata::inline v0_1::cuda
