// A FakeBackend is a peer of the real ones that needs no file system: its names live in this
// process and its memory in memfds. It passes the same conformance suite. Programs use it to
// test their own code without leaving anything behind.
//   Threads:  any.
//   Lifetime: everything is gone with the backend, once nobody is attached.
//   Errors:   as Backend. Forked children see the names of the moment of the fork.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "segment/backend.h"
#include "segment/file_mapping.h"

namespace strata {

class FakeBackend final : public Backend {
 public:
  explicit FakeBackend(Os& os) : os_(os), names_(std::make_shared<Names>()) {}

  std::string_view scheme() const override { return "fake"; }
  Result<Segment> create(const SegmentUri& uri, const CreateOptions& options) override;
  Result<Segment> attach(const SegmentUri& uri, const AttachOptions& options) override;
  Result<SegmentStat> stat(const SegmentUri& uri) override;
  Result<void> remove(const SegmentUri& uri, const RemoveOptions& options) override;
  Result<std::vector<SegmentStat>> list(std::string_view container) override;
  Result<std::vector<ReclaimDecision>> reclaim(const ReclaimOptions& options) override;
  Result<Segment> attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                const AttachOptions& options) override;

 private:
  // Shared with mappings, whose end may remove a name after the backend is gone.
  struct Names {
    std::mutex mutex;
    std::map<std::string, Fd> files;
  };
  Result<Fd> open(const std::string& name, int flags);
  FileMappingHooks detach_hooks(const std::string& name, const IdentityBlock& identity);

  Os& os_;
  std::shared_ptr<Names> names_;
};

}  // namespace strata
