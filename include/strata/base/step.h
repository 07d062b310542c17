// STRATA_STEP marks an instruction boundary at which a process may be killed. In normal builds
// it is nothing. Tests link the `_stepped` variant of a library, in which each mark counts, and
// the process dies by SIGKILL at the n-th one (tests/kill runs an operation once for every n).
#pragma once

#ifdef STRATA_STEPS

#include <cstdint>

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

void step(const char* where);
// Dies at the n-th step from now (the first is 1); 0 disarms.
void kill_at_step(std::uint64_t n);
// Steps passed since the last call of kill_at_step.
std::uint64_t steps_passed();
// The mark that was passed last.
const char* last_step();

}  // namespace strata::inline v0_1
#pragma GCC visibility pop

#define STRATA_STEP(where) ::strata::step(where)
#else
#define STRATA_STEP(where) static_cast<void>(0)
#endif
