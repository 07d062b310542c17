// An Owner is who holds what in a segment: the token that a lock word carries while it is held,
// and the means to tell whether the process behind a token still lives.
//   Threads:  any. In a forked child token() is 0 for ever: it joins anew, as another Owner.
//   Lifetime: must outlive whatever it holds; its token is never given to anybody else.
//   Errors:   is_alive fails only where the kernel cannot be asked.
//   Cost:     token() is one load; is_alive is a system call, about 1 us, and describe a look
//             through /proc, some ms: both are for waiters alone. Polls remember what is_alive
//             said.
// The segment's Participant is the Owner of real programs (segment/lease.h): its liveness is a
// kernel file lock on the byte of its token, so that a pid that was used again deceives nobody.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "strata/base/result.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

inline constexpr std::uint32_t kMaxToken = 0x3FFFFFFF;  // lock words keep two bits for themselves

class Owner {
 public:
  virtual ~Owner() = default;
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;

  // Unique among the attachments that a segment has had; 1 to kMaxToken, or 0 in a forked child.
  std::uint32_t token() const { return *token_; }

  // Whether the owner of that token still lives. One's own token does.
  virtual Result<bool> is_alive(std::uint32_t token) const = 0;

  // For polls: whether that token was found alive at the same tick of the coarse clock. What is not
  // remembered, any more or because another token took its place, is asked again.
  bool was_found_alive(std::uint32_t token, std::uint64_t coarse_ns) const {
    return memory_of(token).load(std::memory_order_relaxed) == found(token, coarse_ns);
  }
  void remember_alive(std::uint32_t token, std::uint64_t coarse_ns) const {
    memory_of(token).store(found(token, coarse_ns), std::memory_order_relaxed);
  }
  void forget(std::uint32_t token) const { memory_of(token).store(0, std::memory_order_relaxed); }

  // "pid 4711 (worker), started 12:03:07" or "a process that cannot be seen from here".
  virtual std::string describe(std::uint32_t token) const = 0;

  // Facts of this process, for the informational words that locks keep beside the token.
  pid_t pid() const { return pid_; }
  std::uint64_t start_time_ticks() const { return start_time_ticks_; }

 protected:
  Owner(std::uint32_t* token, pid_t pid, std::uint64_t start_time_ticks)
      : token_(token), pid_(pid), start_time_ticks_(start_time_ticks) {}

  std::uint32_t* token_;
  pid_t pid_;
  std::uint64_t start_time_ticks_;

 private:
  static constexpr std::size_t kRemembered = 64;
  static constexpr std::uint64_t kTickNs = std::uint64_t{1} << 20;  // the clock ticks no faster
  // Token and moment in one word, so that threads need no lock. Its 34 bits of about a millisecond
  // come round after half a year.
  static std::uint64_t found(std::uint32_t token, std::uint64_t coarse_ns) {
    return coarse_ns / kTickNs << 30 | token;
  }
  std::atomic<std::uint64_t>& memory_of(std::uint32_t token) const {
    return found_alive_[token % kRemembered];
  }

  mutable std::array<std::atomic<std::uint64_t>, kRemembered> found_alive_{};
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
