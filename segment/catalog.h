// A Catalog is the set of backends that a program uses; it sends each URI to its backend.
//   Threads:  any, once built.
//   Lifetime: outlives the segments made through it.
// make_catalog() in strata.h builds the usual one. There is no global registry.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "segment/backend.h"

namespace strata {

class Catalog {
 public:
  explicit Catalog(std::vector<std::unique_ptr<Backend>> backends);

  Result<Segment> create(std::string_view uri, const CreateOptions& options);
  Result<Segment> attach(std::string_view uri, const AttachOptions& options = {});
  Result<SegmentStat> stat(std::string_view uri);
  Result<void> remove(std::string_view uri, const RemoveOptions& options = {});
  // Attaches, or creates where nothing is there; safe against another process doing the same.
  Result<Segment> attach_or_create(std::string_view uri, const CreateOptions& create,
                                   const AttachOptions& attach = {});
  // Errors: unsupported where no backend has this scheme.
  Result<Backend*> backend(std::string_view scheme);
  const std::vector<std::unique_ptr<Backend>>& backends() const { return backends_; }

  // Hands a segment to the process at the other end of a connected UNIX socket (SOCK_STREAM or
  // SOCK_SEQPACKET), which must run as the same user, or as root. The deadline holds for every
  // byte. After a failure the socket may be in the middle of a handle: close it.
  // Errors: timed_out, with how many bytes went; failed_precondition where the peer has closed the
  // socket; permission_denied; not_found where the segment's pool has lost its name.
  Result<void> send(const Segment& segment, int socket, Os& os, Deadline deadline);
  // The other side of send(). `options` ask for no more than the sender grants, and their timeout
  // ends with the deadline.
  // Errors: as send(); corrupt for what is no handle, or a part of one; unsupported for one of
  // another version; as Backend::attach_handle.
  Result<Segment> receive(int socket, Os& os, const AttachOptions& options, Deadline deadline);

 private:
  std::vector<std::unique_ptr<Backend>> backends_;
};

}  // namespace strata
