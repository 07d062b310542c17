// A Catalog is the set of backends that a program uses; it sends each URI to its backend.
//   Threads:  any, once built.
//   Lifetime: segments made through it may outlive it: they hold its backends. An `Os` that the
//             catalog does not own must outlive both.
// open_catalog() in strata.h builds the usual one. There is no global registry.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/os/fd.h"
#include "strata/segment/handle.h"
#include "strata/segment/options.h"
#include "strata/segment/reclaim.h"
#include "strata/segment/segment.h"
#include "strata/segment/segment_stat.h"
#include "strata/segment/uri.h"

namespace strata::inline v0_1 {
class Os;  // hidden: declared outside of the pragma
}

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class Backend;

// A place that could not be looked at, beside what was found elsewhere.
struct BackendProblem {
  std::string where;  // "shm:", "pmem:/data/run.pool"
  Status status;
};

struct ListOptions {
  std::string scheme = {};     // empty: all
  std::string container = {};  // empty: all that are known
};

struct SegmentList {
  std::vector<SegmentStat> segments;  // of each place by name
  std::vector<BackendProblem> problems;
};

struct ReclaimReport {
  std::vector<ReclaimDecision> decisions;
  std::vector<BackendProblem> problems;
};

struct CreatedOrAttached {
  Segment segment;
  bool was_created = false;
};

class Catalog {
 public:
  // Puts the first content into a segment that nobody else can see yet.
  using Fill = std::function<Result<void>(Segment&)>;

  // `os` is the door to the kernel that the backends use; without one the catalog has its own.
  explicit Catalog(std::vector<std::unique_ptr<Backend>> backends,
                   std::shared_ptr<Os> os = nullptr);
  // The same with one that the caller owns, which must outlive all that is attached.
  Catalog(std::vector<std::unique_ptr<Backend>> backends, Os& os);

  Result<Segment> create(std::string_view uri, const CreateOptions& options);
  Result<Segment> attach(std::string_view uri, const AttachOptions& options = {});
  Result<SegmentStat> stat(std::string_view uri);
  Result<void> remove(std::string_view uri, const RemoveOptions& options = {});
  // Attaches, or creates, fills and publishes where nothing is there, and says which. Of any number
  // of processes that do this at once one creates, and the others wait for it, for up to the
  // timeout of `attach`. Where it is killed before its segment is published, one of the others
  // takes its place. `create.publish` has no say.
  // Errors: as create() and attach(); what `fill` returned, or internal where it threw, and then
  // the segment is gone again; not_ready while another process is still filling it.
  Result<CreatedOrAttached> create_or_attach(std::string_view uri, const CreateOptions& create,
                                             const Fill& fill = {},
                                             const AttachOptions& attach = {});
  // Of the first backend that has such. Errors: unsupported.
  Result<Segment> create_anonymous(const CreateOptions& options);

  // Over all backends and all that they know of. What cannot be looked at keeps nobody from the
  // rest, and is among the problems.
  SegmentList list(const ListOptions& options = {});
  ReclaimReport reclaim(const ReclaimOptions& options = {});

  // Errors: unsupported where no backend has this scheme.
  Result<Backend*> backend(std::string_view scheme);
  const std::vector<std::unique_ptr<Backend>>& backends() const { return world_->backends; }

  // Hands a segment to the process at the other end of a connected UNIX socket (SOCK_STREAM or
  // SOCK_SEQPACKET), which must run as the same user, or as root. The deadline holds for every
  // byte. After a failure the socket may be in the middle of a handle: close it.
  // Errors: timed_out, with how many bytes went; failed_precondition where the peer has closed the
  // socket; permission_denied; not_found where the segment's pool has lost its name.
  Result<void> send(const Segment& segment, int socket, Deadline deadline);
  // The other side of send(). `options` ask for no more than the sender grants, and their timeout
  // ends with the deadline.
  // Errors: as send(); corrupt for what is no handle, or a part of one; unsupported for one of
  // another version; as Backend::attach_handle.
  Result<Segment> receive(int socket, const AttachOptions& options, Deadline deadline);

 private:
  struct World {
    std::shared_ptr<Os> os;  // destroyed last
    std::vector<std::unique_ptr<Backend>> backends;
  };
  std::shared_ptr<World> world_;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
