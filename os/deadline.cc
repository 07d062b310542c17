#include "strata/os/deadline.h"

#include <algorithm>

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
constexpr std::uint64_t kNsPerMs = 1'000'000;

std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
  return a + b < a ? UINT64_MAX : a + b;
}

std::uint64_t now_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kNsPerSecond +
         static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

std::uint64_t monotonic_ns() { return now_ns(CLOCK_MONOTONIC); }
std::uint64_t coarse_monotonic_ns() { return now_ns(CLOCK_MONOTONIC_COARSE); }
std::uint64_t unix_ns() { return now_ns(CLOCK_REALTIME); }

Deadline Deadline::after_ms(std::uint64_t timeout_ms) {
  return after_ns(timeout_ms > UINT64_MAX / kNsPerMs ? UINT64_MAX : timeout_ms * kNsPerMs);
}

Deadline Deadline::after_ns(std::uint64_t timeout_ns) {
  return timeout_ns == 0 ? now() : Deadline(saturating_add(monotonic_ns(), timeout_ns));
}

std::uint64_t Deadline::remaining_ns() const {
  if (is_now()) return 0;
  const std::uint64_t now = monotonic_ns();
  return at_ns_ > now ? at_ns_ - now : 0;
}

Deadline Deadline::slice(std::uint64_t slice_ns) const {
  return Deadline(std::min(at_ns_, saturating_add(monotonic_ns(), slice_ns)));
}

timespec Deadline::absolute() const {
  // time_t cannot hold the far future that after_ms(UINT64_MAX) asks for; 2^62 ns is 146 years.
  const std::uint64_t at = std::min(at_ns_, std::uint64_t{1} << 62);
  return {static_cast<time_t>(at / kNsPerSecond), static_cast<long>(at % kNsPerSecond)};
}

}  // namespace strata::inline v0_1
