// Leases and participants: who is attached to a segment, told by kernel file locks alone.
//
// Each attachment holds a shared lock on one byte of the segment's lock file: on kReaderByte or
// kWriterByte. The kernel drops it when the process dies, however it dies, so that no pid is
// ever asked whether it is still the same process. A process that takes part in locks or heaps
// inside the segment also holds an exclusive lock on the byte of its token.
//   Threads:  any.
//   Lifetime: a lease ends with its Fd. A forked child shares its parent's leases: the segment
//             counts as attached until both are gone. It does not share the token, which is locked
//             through a descriptor that fork() closes in the child.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "os/fork_gate.h"
#include "os/os.h"
#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/sync/owner.h"

namespace strata::inline v0_1 {

// The file and the first byte of the lock range of one segment. A pool holds many segments in
// one file, each with a range of its own.
struct LockRange {
  int fd = -1;  // borrowed
  std::uint64_t base_bytes = 0;
};

inline constexpr std::uint64_t kReaderByte = 0;    // shared: read-only and copy-on-write
inline constexpr std::uint64_t kWriterByte = 1;    // shared: read-write
inline constexpr std::uint64_t kCreatorByte = 2;   // exclusive: the creating process
inline constexpr std::uint64_t kChangeByte = 3;    // exclusive: grow, seal, reclaim in progress
inline constexpr std::uint64_t kTokenByte = 4096;  // + token, exclusive: a participant
inline constexpr std::uint64_t kLockRangeBytes = std::uint64_t{1} << 33;
// Lock ranges start beyond any file's bytes.
inline constexpr std::uint64_t kLockBaseBytes = std::uint64_t{1} << 48;

// A process that holds a lock in a segment's range, as far as /proc lets us see.
struct Holder {
  pid_t pid = 0;
  std::uint64_t start_time_ticks = 0;
  std::string command;
  bool is_writer = false;
  bool is_creator = false;
  std::optional<std::uint32_t> token;
};

// Everyone attached to the file that `range` is in; needs /proc and the right to look into it.
// For messages and tables, not for decisions.
std::vector<Holder> find_holders(Os& os, LockRange range);

// "pid 4711 (worker), pid 4712 (worker)", or that none of them can be seen from here.
std::string describe(const std::vector<Holder>& holders);

// Holds kChangeByte while it lives: one process at a time grows, seals, removes or reclaims a
// segment. Errors: timed_out, naming who holds it.
class ChangeLock {
 public:
  static Result<ChangeLock> take(Os& os, LockRange range, Deadline deadline);
  ChangeLock(ChangeLock&& other) noexcept
      : os_(other.os_), range_{std::exchange(other.range_.fd, -1), other.range_.base_bytes} {}
  ~ChangeLock();

 private:
  ChangeLock(Os& os, LockRange range) : os_(os), range_(range) {}
  Os& os_;
  LockRange range_;
};

// Keeps everybody from attaching while it lives: exclusive locks on the reader and the writer
// byte of an open segment file.
class ExclusiveLease {
 public:
  // Errors: failed_precondition with the holders while anybody is attached.
  static Result<ExclusiveLease> take(Os& os, int fd);
  ExclusiveLease(ExclusiveLease&& other) noexcept
      : os_(other.os_), fd_(std::exchange(other.fd_, -1)) {}
  ~ExclusiveLease();

 private:
  ExclusiveLease(Os& os, int fd) : os_(os), fd_(fd) {}
  Os& os_;
  int fd_;
};

// This process's standing in one segment: the token that marks what it holds there.
class Participant final : public Owner {
 public:
  // Takes the next free token of the segment. `next` is LiveBlock::next_participant.
  // `file` is an open file of its own, for writing, and `base_bytes` where the segment's lock range
  // begins in it. Errors: exhausted after too many tokens were found taken; permission_denied on a
  // file that is open for reading only.
  static Result<std::unique_ptr<Participant>> join(Os& os, Fd file, std::uint64_t base_bytes,
                                                   std::atomic<std::uint32_t>& next,
                                                   const ForkGate& gate);
  ~Participant() override;

  Result<bool> is_alive(std::uint32_t token) const override;
  std::string describe(std::uint32_t token) const override;

 private:
  // `page` holds the token alone, and the kernel wipes it in forked children.
  Participant(Os& os, Fd file, std::uint64_t base_bytes, std::uint32_t* page, const ForkGate& gate);
  LockRange range() const { return {file_.get(), base_bytes_}; }

  Os& os_;
  UnsharedFd file_;
  std::uint64_t base_bytes_;
};

}  // namespace strata::inline v0_1
