// The header plane of a segment: its header page and the locks beside it, which are alike for
// every backend, whatever and wherever the payload is. A backend opens the file; all that is
// decided from the page and the locks is decided here, once.
//   Threads:  const members and participant() any; the others one thread at a time.
//   Lifetime: the lease ends with this object, or with the process. A page that lies in the
//             payload's mapping must outlive it.
//   Errors:   see each function. Every byte of the page is hostile: identify() gives a checked
//             copy, and payload_bytes() is bounded by what exists.
//   Cost:     taking a lease is one system call; reading states and sizes is a load.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "os/os.h"
#include "segment/lease.h"
#include "strata/base/result.h"
#include "strata/segment/header.h"
#include "strata/segment/options.h"
#include "strata/segment/segment_stat.h"
#include "strata/segment/uri.h"

namespace strata::inline v0_1 {

// Where a header is in its file. A pool holds many in one file, each with a lock range of its own.
struct HeaderPlace {
  std::uint64_t page_offset_bytes = 0;
  std::uint64_t lock_base_bytes = kLockBaseBytes;
};

class HeaderPlane {
 public:
  // `file` is an open file of its own: locks belong to it. `access` is that of the payload; the
  // page is never mapped with more rights.
  HeaderPlane(Os& os, Fd file, Access access, HeaderPlace place = {});
  ~HeaderPlane();
  HeaderPlane(const HeaderPlane&) = delete;
  HeaderPlane& operator=(const HeaderPlane&) = delete;

  // Counts this process among the readers or the writers, as `access` says. Waits while somebody
  // seals, removes or reclaims the segment. Errors: timed_out, naming who does.
  Result<void> lease(Deadline deadline);
  // Counts it as the creator, and as a writer, before anybody else can see the segment.
  Result<void> lease_as_creator();

  // The page, which lies in the payload's mapping.
  void use_page(std::byte* page) { page_ = reinterpret_cast<HeaderPage*>(page); }
  HeaderPage& page() const { return *page_; }

  // A checked copy of the identity. Errors: corrupt, also where the header belongs to another
  // segment than `uri`; unsupported where it has features that this version must know.
  Result<IdentityBlock> identify(const SegmentUri& uri) const;
  // Waits until the creator has published the segment. Errors: not_ready while it has not, or
  // died before; not_found where the segment was removed; failed_precondition where it is sealed
  // and `access` is for writing; corrupt.
  Result<void> await_ready(const IdentityBlock& identity, Deadline deadline) const;
  SegmentState state() const;
  void store_state(SegmentState state);
  // The size that the page tells, believed as far as `existing_bytes`. Errors: corrupt.
  Result<std::uint64_t> payload_bytes(const IdentityBlock& identity,
                                      std::uint64_t existing_bytes) const;

  // No other process changes the segment while the lock lives. Errors: timed_out.
  Result<ChangeLock> lock_for_change(Deadline deadline) const;
  // Makes this process the only writer, which proves that nobody else writes and keeps new writers
  // out, and a reader besides. Errors: failed_precondition, naming the others.
  Result<void> become_only_writer();
  // From the only writer to a writer among writers again, or to a reader for good: neither can
  // fail.
  void give_way_to_writers();
  void stop_writing();

  // Who this process is in this segment: joined at the first call, and anew after a fork, when the
  // child gets an open file and a lease of its own. A reader of the payload may join where it may
  // open the header for writing.
  // At any depth of forks, and whatever other threads were doing when it was forked.
  // Errors: exhausted, permission_denied as Participant::join; failed_precondition once sealed.
  Result<const Participant*> participant();

  Os& os() const { return os_; }
  int fd() const { return file_.get(); }
  LockRange lock_range() const { return {file_.get(), place_.lock_base_bytes}; }
  Access access() const { return access_; }

 private:
  Result<void> own_file_after_fork();
  // The word that participants count in, writable; a mapping of its own where the page is not.
  Result<std::unique_ptr<Participant>> join(const ForkGate& gate);

  Os& os_;
  Fd file_;
  Access access_;
  HeaderPlace place_;
  HeaderPage* page_ = nullptr;
  // The last one that joined, whose token a fork wipes: then it is one of the parent's.
  std::atomic<const Participant*> joined_{nullptr};
  // What follows changes behind the ForkGate alone: so one thread at a time does it, and a forked
  // child finds it whole.
  pid_t pid_;  // whose the lease is
  std::vector<std::unique_ptr<Participant>> participants_;
};

// Whether a header is that of the segment `uri`. A good checksum only says that somebody made it:
// the name stands for nothing unless it is the one that led here.
// Errors: corrupt, naming the segment that it belongs to.
Result<void> check_belongs(const IdentityBlock& identity, const SegmentUri& uri);

// What an open file tells of the segment whose header is at `place`, without mapping anything. A
// header that cannot be read, or that belongs to another segment, becomes `problem`.
Result<SegmentStat> stat_header(Os& os, int fd, SegmentUri uri, const HeaderPlace& place = {});

// Tells those who are still attached that the name is going away.
void mark_retired(Os& os, int fd);

}  // namespace strata::inline v0_1
