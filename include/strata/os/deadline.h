// A Deadline is the moment at which a wait gives up. Every wait in Strata takes one.
//   Threads:  a value.
//   Cost:     reading the clock is a vDSO call, about 25 ns.
// The clock is CLOCK_MONOTONIC: it does not jump, and all processes of one machine share it.
#pragma once

#include <time.h>

#include <cstdint>

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

std::uint64_t monotonic_ns();
// The same clock as of its last tick, which comes every 1 to 10 ms; about 5 ns.
std::uint64_t coarse_monotonic_ns();
// The time of day, since 1970: for people, never for waits.
std::uint64_t unix_ns();

class Deadline {
 public:
  // Give up `timeout_ms` from now; 0 means "try once", and reads no clock.
  static Deadline after_ms(std::uint64_t timeout_ms);
  static Deadline after_ns(std::uint64_t timeout_ns);
  // Try once: whoever waits looks a single time, and neither spins nor sleeps.
  static constexpr Deadline now() { return Deadline(0); }
  constexpr bool is_now() const { return at_ns_ == 0; }

  std::uint64_t at_ns() const { return at_ns_; }
  std::uint64_t remaining_ns() const;
  bool expired() const { return remaining_ns() == 0; }
  // The earlier of this deadline and `slice_ns` from now: for waits that wake to look around.
  Deadline slice(std::uint64_t slice_ns) const;
  timespec absolute() const;

 private:
  explicit constexpr Deadline(std::uint64_t at_ns) : at_ns_(at_ns) {}
  std::uint64_t at_ns_;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
