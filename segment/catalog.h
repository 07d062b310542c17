// A Catalog is the set of backends that a program uses; it sends each URI to its backend.
//   Threads:  any, once built.
//   Lifetime: segments made through it may outlive it: they hold its backends. An `Os` that the
//             catalog does not own must outlive both.
// open_catalog() in strata.h builds the usual one. There is no global registry.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "segment/backend.h"

namespace strata {

class Catalog {
 public:
  // `os` is the door to the kernel that the backends use, where the catalog owns it.
  explicit Catalog(std::vector<std::unique_ptr<Backend>> backends,
                   std::shared_ptr<Os> os = nullptr);

  Result<Segment> create(std::string_view uri, const CreateOptions& options);
  Result<Segment> attach(std::string_view uri, const AttachOptions& options = {});
  Result<SegmentStat> stat(std::string_view uri);
  Result<void> remove(std::string_view uri, const RemoveOptions& options = {});
  // Attaches, or creates where nothing is there; safe against another process doing the same.
  Result<Segment> attach_or_create(std::string_view uri, const CreateOptions& create,
                                   const AttachOptions& attach = {});
  // Errors: unsupported where no backend has this scheme.
  Result<Backend*> backend(std::string_view scheme);
  const std::vector<std::unique_ptr<Backend>>& backends() const { return world_->backends; }

  // Hands a segment to the process at the other end of a connected UNIX socket, which must run
  // as the same user (or root).
  Result<void> send(const Segment& segment, int socket, Os& os);
  Result<Segment> receive(int socket, Os& os, const AttachOptions& options, Deadline deadline);

 private:
  struct World {
    std::shared_ptr<Os> os;  // destroyed last
    std::vector<std::unique_ptr<Backend>> backends;
  };
  std::shared_ptr<World> world_;
};

}  // namespace strata
