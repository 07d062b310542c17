// An Owner is who holds what in a segment: the token that a lock word carries while it is held,
// and the means to tell whether the process behind a token still lives.
//   Threads:  any. In a forked child token() is 0 until the child attaches anew.
//   Lifetime: must outlive whatever it holds; its token is never given to anybody else.
//   Errors:   is_alive fails only where the kernel cannot be asked.
//   Cost:     token() is one load; is_alive and describe are system calls, for waiters alone.
// The segment's Participant is the Owner of real programs (segment/lease.h): its liveness is a
// kernel file lock on the byte of its token, so that a pid that was used again deceives nobody.
#pragma once

#include <sys/types.h>

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
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
