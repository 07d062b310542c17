// Futexes on shared memory: sleep until another process changes a word.
//   Threads:  any thread of any process that maps the word.
//   Errors:   none; a wait that returns has to look at the word again in any case.
// They are non-private on purpose: std::atomic::wait of libstdc++ 12 uses private futexes,
// which another process never wakes.
#pragma once

#include <atomic>
#include <cstdint>

#include "strata/os/deadline.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

enum class FutexWait : std::uint8_t { woken, changed, timed_out };

// Sleeps while `word` holds `expected`, until a wake or the deadline. Spurious `woken` happens.
// With a `bitset`, only wakes that share a bit with it are felt.
FutexWait futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                     Deadline deadline, std::uint32_t bitset = ~0u);

// Wakes up to `count` sleepers; returns how many it woke.
int futex_wake(const std::atomic<std::uint32_t>& word, int count, std::uint32_t bitset = ~0u);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
