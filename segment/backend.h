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

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "strata/base/result.h"
#include "strata/os/fd.h"
#include "strata/segment/handle.h"
#include "strata/segment/options.h"
#include "strata/segment/reclaim.h"
#include "strata/segment/segment.h"
#include "strata/segment/segment_stat.h"
#include "strata/segment/uri.h"

namespace strata::inline v0_1 {

// What becomes of the record of a container that is proven to be gone.
enum class GoneRecords : std::uint8_t { keep, drop };

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
  // Attaches what a decoded handle means, with the descriptors that rode along; what it leads to
  // is compared with it (segment/handle_check.h). Errors: as attach; failed_precondition where the
  // handle is stale, or its memory could be taken away by the sender; unsupported.
  Result<Segment> attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                const AttachOptions& options);

  virtual Result<SegmentStat> stat(const SegmentUri& uri) = 0;
  virtual Result<void> remove(const SegmentUri& uri, const RemoveOptions& options) = 0;
  // Where segments of this scheme may be, each place once: `named`, and what the backend itself
  // knows of. One empty container where the scheme has none.
  virtual std::vector<std::string> containers(const std::vector<std::string>& named,
                                              GoneRecords gone);
  // All segments of `container` (empty where the scheme has none), sorted by name; one that
  // cannot be read has its `problem` set.
  virtual Result<std::vector<SegmentStat>> list(std::string_view container) = 0;
  // Removes what of `container` is proven to be orphaned. Idempotent; a run that was killed is
  // resumed by the next. An error says that the container as a whole could not be looked at.
  virtual Result<std::vector<ReclaimDecision>> reclaim(std::string_view container,
                                                       const ReclaimOptions& options) = 0;

  // What segments of this backend hold, so that they may outlive the catalog: the backends, and the
  // door to the kernel where the catalog owns it.
  void set_world(std::weak_ptr<const void> world) { world_ = std::move(world); }

 protected:
  // `options.lifetime` is set.
  virtual Result<Segment> do_create(const SegmentUri& uri, const CreateOptions& options) = 0;
  virtual Result<Segment> do_attach(const SegmentUri& uri, const AttachOptions& options) = 0;
  virtual Result<Segment> do_create_anonymous(const CreateOptions& options);
  virtual Result<Segment> do_attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                           const AttachOptions& options);
  // What every attachment goes through on its way to the user.
  Result<Segment> keep_world_in(Result<Segment> made) const;

 private:
  std::weak_ptr<const void> world_;
};

}  // namespace strata::inline v0_1
