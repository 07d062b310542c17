// Children of a test: forked, waited for, killed.
//   Lifetime: the alarm ends a child that its test has left behind.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <type_traits>

#include "base/check.h"

namespace strata::inline v0_1::test {

// Runs `body` in a forked child and returns its pid. The child exits with what `body` returns; with
// 0 where that is nothing.
template <typename Body>
pid_t start_child(Body body) {
  constexpr unsigned kSecondsToLive = 300;
  std::fflush(nullptr);
  const pid_t child = fork();
  STRATA_CHECK(child >= 0);
  if (child != 0) return child;
  alarm(kSecondsToLive);
  int code = 0;
  if constexpr (std::is_void_v<std::invoke_result_t<Body>>) {
    body();
  } else {
    code = body();
  }
  std::fflush(nullptr);
  _exit(code);
}

// The wait status.
inline int wait_for(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

inline bool was_killed(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; }

// The wait status of a child that ran `body`.
template <typename Body>
int in_child(Body body) {
  return wait_for(start_child(body));
}

// Whether a child that ran `body` says so.
template <typename Body>
bool child_says(Body body) {
  return in_child([&] { return body() ? 0 : 1; }) == 0;
}

inline void kill_child(pid_t child) {
  kill(child, SIGKILL);
  wait_for(child);
}

// Stops a child by SIGSTOP and returns once it has stopped.
inline void stop_child(pid_t child) {
  kill(child, SIGSTOP);
  int status = 0;
  waitpid(child, &status, WUNTRACED);
}

}  // namespace strata::inline v0_1::test
