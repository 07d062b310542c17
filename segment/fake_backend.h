// A FakeBackend is a peer of the real ones that needs no file system: its names live in this
// process and its memory in memfds. It passes the same conformance suite. Programs use it to
// test their own code without leaving anything behind; also as memory that the host cannot address,
// as that of a device.
//   Threads:  any.
//   Lifetime: everything is gone with the backend, once nobody is attached.
//   Errors:   as Backend. Forked children see the names of the moment of the fork.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "segment/backend.h"
#include "segment/file_payload.h"

namespace strata::inline v0_1 {

struct FakeOptions {
  enum class Reach : std::uint8_t {
    host,    // host_bytes() gives the payload
    copies,  // only read() and write() reach it
  };
  Reach reach = Reach::host;
};

class FakeBackend final : public Backend {
 public:
  explicit FakeBackend(Os& os, FakeOptions options = {})
      : os_(os), options_(options), names_(std::make_shared<Names>()) {}

  std::string_view scheme() const override { return "fake"; }
  const Capabilities& capabilities() const override;
  Result<SegmentStat> stat(const SegmentUri& uri) override;
  Result<void> remove(const SegmentUri& uri, const RemoveOptions& options) override;
  Result<std::vector<SegmentStat>> list(std::string_view container) override;
  Result<std::vector<ReclaimDecision>> reclaim(std::string_view container,
                                               const ReclaimOptions& options) override;

 protected:
  Result<Segment> do_create(const SegmentUri& uri, const CreateOptions& options) override;
  Result<Segment> do_attach(const SegmentUri& uri, const AttachOptions& options) override;
  Result<Segment> do_attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                   const AttachOptions& options) override;

 private:
  // Shared with attachments, whose end may remove a name after the backend is gone.
  struct Names {
    std::mutex mutex;
    std::map<std::string, Fd> files;
  };
  Result<Fd> open(const std::string& name, int flags);
  Result<Segment> finish(const SegmentUri& uri, std::unique_ptr<HeaderPlane> plane,
                         const IdentityBlock& identity, const CreateOptions& options);
  AttachmentParts parts(const SegmentUri& uri, FilePayload::Mapped mapped);
  std::function<void()> on_detach(const std::string& name, const IdentityBlock& identity);

  Os& os_;
  FakeOptions options_;
  std::shared_ptr<Names> names_;
};

}  // namespace strata::inline v0_1
