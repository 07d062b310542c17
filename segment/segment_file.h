// What can be told and decided about a segment from its header file alone, without mapping the
// payload: its facts, whether it may be removed, whether it is an orphan.
//   Threads:  any. Decisions to remove are made under locks that keep attachers out.
//   Errors:   corrupt and unsupported as read_identity_block().
#pragma once

#include <memory>

#include "base/result.h"
#include "os/os.h"
#include "segment/backend.h"
#include "segment/lease.h"

namespace strata {

// Whether a header is that of the segment `uri`. A good checksum only says that somebody made it:
// the name stands for nothing unless it is the one that led here.
// Errors: corrupt, naming the segment that it belongs to.
Result<void> check_belongs(const IdentityBlock& identity, const SegmentUri& uri);

// The facts of an open segment file. A header that cannot be read, or that belongs to another
// segment, becomes `problem`.
Result<SegmentStat> stat_segment_file(Os& os, int fd, SegmentUri uri);

// Why a segment is an orphan, or why it is not, from facts and kernel locks.
ReclaimDecision judge(const SegmentStat& stat, const ReclaimOptions& options);

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

// Tells those who are still attached that the name is going away.
void mark_retired(Os& os, int fd);

}  // namespace strata
