// Whether a segment may be removed, and whether it is an orphan: decided from its facts and from
// kernel locks.
//   Threads:  any. Decisions to remove are made under locks that keep attachers out.
//   Errors:   corrupt and unsupported as read_identity_block().
#pragma once

#include <memory>

#include "base/result.h"
#include "os/os.h"
#include "segment/backend.h"
#include "segment/header_plane.h"
#include "segment/lease.h"

namespace strata {

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

}  // namespace strata
