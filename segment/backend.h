// A Backend makes and opens segments of one scheme. Each call is at least one system call, so
// virtual dispatch costs nothing here.
//   Threads:  any.
//   Lifetime: outlives its segments.
//   Errors:   of every backend alike, and checked by tests/conformance:
//     create   already_exists, exhausted (limit, free bytes, remedy), permission_denied
//     attach   not_found, not_ready (creator still filling), corrupt, unsupported (newer format),
//              permission_denied, failed_precondition (sealed, for writing)
//     remove   not_found, failed_precondition (in use), permission_denied
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "os/fd.h"
#include "segment/options.h"
#include "segment/segment.h"
#include "segment/segment_stat.h"
#include "segment/uri.h"

namespace strata {

struct RemoveOptions {
  // Remove it although processes are attached: they keep their memory, the name is gone.
  bool even_if_attached = false;
};

struct ReclaimOptions {
  bool dry_run = false;
  std::string ended_job;  // job segments of this job are orphans
};

// What was decided on one candidate, and on which evidence.
struct ReclaimDecision {
  SegmentUri uri;
  bool is_orphan = false;
  bool was_reclaimed = false;
  std::uint64_t bytes = 0;
  std::string evidence;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view scheme() const = 0;
  virtual const Capabilities& capabilities() const = 0;

  // Checks the name and what is asked for, says `create URI` in errors, and lets the segment hold
  // the world that it lives in. The same of the two below.
  Result<Segment> create(const SegmentUri& uri, CreateOptions options);
  Result<Segment> attach(const SegmentUri& uri, const AttachOptions& options);
  // Anonymous segments: no name, handed over by descriptor.
  Result<Segment> create_anonymous(CreateOptions options);
  Result<Segment> attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                const AttachOptions& options);

  virtual Result<SegmentStat> stat(const SegmentUri& uri) = 0;
  virtual Result<void> remove(const SegmentUri& uri, const RemoveOptions& options) = 0;
  // All segments of `container` (empty where the scheme has none), sorted by name; one that
  // cannot be read has its `problem` set.
  virtual Result<std::vector<SegmentStat>> list(std::string_view container) = 0;
  // Removes what is proven to be orphaned. Idempotent; a run that was killed is resumed by the
  // next.
  virtual Result<std::vector<ReclaimDecision>> reclaim(const ReclaimOptions& options) = 0;

  // What segments of this backend hold, so that they may outlive the catalog: the backends, and the
  // door to the kernel where the catalog owns it.
  void set_world(std::weak_ptr<const void> world) { world_ = std::move(world); }

 protected:
  // `options.lifetime` is set.
  virtual Result<Segment> do_create(const SegmentUri& uri, const CreateOptions& options) = 0;
  virtual Result<Segment> do_attach(const SegmentUri& uri, const AttachOptions& options) = 0;
  virtual Result<Segment> do_create_anonymous(const CreateOptions& options);
  // The handle has been checked; what it leads to is compared with it afterwards.
  virtual Result<Segment> do_attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                           const AttachOptions& options);
  // What every attachment goes through on its way to the user.
  Result<Segment> settle_in(Result<Segment> made, std::string_view context) const;

 private:
  std::weak_ptr<const void> world_;
};

}  // namespace strata
