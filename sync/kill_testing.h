// Kills a process by SIGKILL at every step of an operation, and lets others go on. A step is any
// access to a SharedWord, and whatever else STRATA_STEP marks. One kill_*_test.cc for each family
// of primitives says which operations, and what must hold afterwards.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <functional>

#include "strata/base/step.h"
#include "sync/sync_testing.h"
#include "tests/catch.h"
#include "tests/verified.h"

namespace strata::inline v0_1::test {

// Few, so that the steps of a spin are not counted hundreds of times.
inline constexpr std::uint32_t kSpins = 1;

inline Deadline soon() { return Deadline::after_ms(60'000); }
inline Deadline now() { return Deadline::after_ms(0); }

// The words of `where` as they are, without taking a step.
inline std::uint64_t peek(const void* where) {
  return __atomic_load_n(static_cast<const std::uint64_t*>(where), __ATOMIC_SEQ_CST);
}

// In a child: `ok`, or the child ends with `code`, which fails the test.
inline void need(bool ok, int code) {
  if (!ok) _exit(code);
}

inline void report_kill_points(const char* name, std::uint64_t points) {
  std::printf("kill points: %llu (%s)\n", static_cast<unsigned long long>(points), name);
  report_verified(points, "kill points");
}

template <typename State>
struct Play {
  // By the test's own process, token 1, before the doomed one starts.
  std::function<void(State&, const Party& us)> prepare = [](State&, const Party&) {};
  // By the doomed process, token 2. Its steps count from arm() on.
  std::function<void(State&, const Party& me, const std::function<void()>& arm)> operate = {};
  // By others, token 3, that were there before and have to come to their end; none if empty.
  std::function<void(State&, const Party& other)> meanwhile = {};
  // By the test's own process, after all that.
  std::function<void(State&, const Party& us)> check = {};
};

// Once for every step of `operate`, until it comes to its end alive.
template <typename State>
void kill_at_every_step(const char* name, const Play<State>& play) {
  for (std::uint64_t n = 1;; ++n) {
    const LockFile file;
    const Shared<State> state;
    const Party us(file, 1, 1, kSpins);
    play.prepare(*state, us);
    pid_t other = 0;
    if (play.meanwhile) {
      other = start_child([&] { play.meanwhile(*state, Party(file, 3, 1, kSpins)); });
    }
    const int status = in_child([&] {
      const Party me(file, 2, 1, kSpins);
      play.operate(*state, me, [n] { kill_at_step(n); });
      kill_at_step(0);
    });
    INFO(name << ", step " << n << ", status " << status);
    REQUIRE((was_killed(status) || status == 0));
    if (other != 0) REQUIRE(wait_for(other) == 0);
    play.check(*state, us);
    if (!was_killed(status)) {
      REQUIRE(n > 1);  // an operation without a step would prove nothing
      return report_kill_points(name, n - 1);
    }
  }
}

}  // namespace strata::inline v0_1::test
