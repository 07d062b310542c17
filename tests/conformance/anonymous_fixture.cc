// Anonymous segments have no names: this fixture gives them some, by keeping the descriptors
// and the handle of each, as a process would that hands them on.

#include <fcntl.h>

#include <map>
#include <mutex>

#include "shm/shm_backend.h"
#include "tests/conformance/backend_fixture.h"

namespace strata::inline v0_1 {
namespace {

class NamedAnonymous final : public Backend {
 public:
  explicit NamedAnonymous(Os& os) : os_(os), backend_(os) {}

  std::string_view scheme() const override { return "shm"; }
  const Capabilities& capabilities() const override { return backend_.capabilities(); }
  Result<SegmentStat> stat(const SegmentUri&) override { return no_names(); }
  Result<void> remove(const SegmentUri&, const RemoveOptions&) override { return no_names(); }
  Result<std::vector<SegmentStat>> list(std::string_view) override { return no_names(); }
  Result<std::vector<ReclaimDecision>> reclaim(std::string_view, const ReclaimOptions&) override {
    return no_names();
  }

 protected:
  Result<Segment> do_create(const SegmentUri& uri, const CreateOptions& options) override {
    const std::lock_guard lock(mutex_);
    if (kept_.contains(uri.name)) return fail(Code::already_exists, uri.name);
    STRATA_ASSIGN(Segment segment, backend_.create_anonymous(options));
    Kept kept;
    STRATA_ASSIGN(kept.handle, segment.handle());
    for (const int fd : segment.descriptors()) {
      // Opened anew: a duplicate would share, and so prolong, the creator's own lease.
      STRATA_ASSIGN(Fd own, os_.reopen(fd, O_RDWR));
      kept.descriptors.push_back(std::move(own));
    }
    kept_.emplace(uri.name, std::move(kept));
    return segment;
  }

  Result<Segment> do_attach(const SegmentUri& uri, const AttachOptions& options) override {
    const std::lock_guard lock(mutex_);
    const auto found = kept_.find(uri.name);
    if (found == kept_.end()) return fail(Code::not_found, uri.name);
    std::vector<Fd> descriptors;
    for (const Fd& fd : found->second.descriptors) {
      STRATA_ASSIGN(Fd copy, os_.dup(fd.get()));
      descriptors.push_back(std::move(copy));
    }
    return backend_.attach_handle(found->second.handle, std::move(descriptors), options);
  }

  Result<Segment> do_attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                   const AttachOptions& options) override {
    return backend_.attach_handle(handle, std::move(descriptors), options);
  }

 private:
  struct Kept {
    Handle handle;
    std::vector<Fd> descriptors;
  };
  static Unexpected no_names() { return fail(Code::unsupported, "anonymous: has no names"); }

  Os& os_;
  ShmBackend backend_;
  std::mutex mutex_;
  std::map<std::string, Kept> kept_;
};

class AnonymousFixture final : public BackendFixture {
 public:
  Os& os() override { return os_; }
  Backend& backend() override { return backend_; }
  SegmentUri uri(const std::string& name) override { return {"shm", {}, name}; }
  bool has_shared_names() const override { return false; }
  bool has_names() const override { return false; }
  bool has_lifetimes() const override { return false; }

 private:
  RealOs os_;
  NamedAnonymous backend_{os_};
};

}  // namespace

std::unique_ptr<BackendFixture> make_fixture() { return std::make_unique<AnonymousFixture>(); }

}  // namespace strata::inline v0_1
