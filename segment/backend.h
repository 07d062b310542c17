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

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "os/fd.h"
#include "segment/options.h"
#include "segment/segment.h"
#include "segment/uri.h"

namespace strata {

// What can be told of a segment without mapping its payload.
struct SegmentStat {
  SegmentUri uri;
  IdentityBlock identity{};  // zeros where `problem` is set
  SegmentState state = SegmentState::blank;
  std::uint64_t payload_bytes = 0;
  std::uint64_t committed_bytes = 0;  // memory that it really takes
  std::uint32_t owner_uid = 0;
  std::uint32_t mode = 0;
  bool is_attached = false;
  bool is_attached_for_writing = false;
  bool is_creator_alive = false;
  std::optional<Status> problem;  // why it cannot be attached
  bool is_of_another =
      false;  // it is a second name, or a copy, of the segment that `problem` names
};

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
  virtual Result<Segment> create(const SegmentUri& uri, const CreateOptions& options) = 0;
  virtual Result<Segment> attach(const SegmentUri& uri, const AttachOptions& options) = 0;
  virtual Result<SegmentStat> stat(const SegmentUri& uri) = 0;
  virtual Result<void> remove(const SegmentUri& uri, const RemoveOptions& options) = 0;
  // All segments of `container` (empty where the scheme has none), sorted by name; one that
  // cannot be read has its `problem` set.
  virtual Result<std::vector<SegmentStat>> list(std::string_view container) = 0;
  // Removes what is proven to be orphaned. Idempotent; a run that was killed is resumed by the
  // next.
  virtual Result<std::vector<ReclaimDecision>> reclaim(const ReclaimOptions& options) = 0;

  // Anonymous segments: no name, handed over by descriptor. Errors: unsupported.
  virtual Result<Segment> create_anonymous(const CreateOptions& options);
  // Attaches what a decoded handle means, with the descriptors that rode along; what it leads to
  // is compared with it (segment/handle_check.h). Errors: as attach; failed_precondition where the
  // handle is stale, or its memory could be taken away by the sender; unsupported.
  virtual Result<Segment> attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                        const AttachOptions& options);
};

}  // namespace strata
