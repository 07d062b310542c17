// Runs the real code of sync/ under every interleaving of its steps, within stated bounds.
//
// Threads are fibers of one thread. Each STRATA_STEP, that is each access to a shared word, hands
// over to the scheduler, which chooses who goes on. One choice sequence is one execution; all of
// them are run, in depth-first order, each from the beginning. This file's .cc takes the place of
// base/step.cc, os/futex.cc and os/deadline.cc at link time: a futex blocks its fiber, and time
// passes only when nobody can run.
//
// What it shows holds for sequentially consistent memory: orders that a weaker model allows between
// the accesses of one thread are not tried. Steps of words that are for messages only (who holds
// it, since when) are not switched at.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "strata/sync/sync_context.h"

namespace strata::inline v0_1::model {

inline constexpr unsigned kUnbounded = ~0u;

struct Bounds {
  // Switches away from a thread that could have gone on. kUnbounded: every interleaving.
  unsigned preemptions = kUnbounded;
  // Threads that may be killed, each at any of its steps.
  unsigned kills = 0;
};

struct Report {
  std::uint64_t executions = 0;
  std::uint64_t steps = 0;
  std::uint64_t kills = 0;
  unsigned longest = 0;           // steps of the longest execution
  unsigned most_switches = 0;     // context switches of one execution
  std::uint64_t time_passed = 0;  // executions in which only the end of a slice woke somebody
  std::string failure;            // empty: none; else what, and the schedule that led to it
};

// One run of a scenario: made anew for each execution. Thread i has token i + 1.
struct Scenario {
  std::vector<std::function<void(const SyncContext&)>> threads;
  // After all threads have come to their end or were killed.
  std::function<void(const SyncContext&)> check;
};

// Stops at the first failure.
Report explore(const Bounds& bounds, const std::function<Scenario()>& make);

// In a scenario: a failure, with what led to it, unless `ok`.
void require(bool ok, const char* what);
bool was_killed(std::uint32_t token);

}  // namespace strata::inline v0_1::model
