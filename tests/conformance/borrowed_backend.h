// A lender of the fixture's backend to a Catalog, which wants to own what it is given.
//   Lifetime: the backend outlives it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "strata/segment/catalog.h"

namespace strata::inline v0_1 {

class Borrowed final : public Backend {
 public:
  explicit Borrowed(Backend& backend) : backend_(backend) {}
  std::string_view scheme() const override { return backend_.scheme(); }
  const Capabilities& capabilities() const override { return backend_.capabilities(); }
  Result<SegmentStat> stat(const SegmentUri& uri) override { return backend_.stat(uri); }
  Result<void> remove(const SegmentUri& uri, const RemoveOptions& options) override {
    return backend_.remove(uri, options);
  }
  Result<std::vector<SegmentStat>> list(std::string_view container) override {
    return backend_.list(container);
  }
  std::vector<std::string> containers(const std::vector<std::string>& named,
                                      GoneRecords gone) override {
    return backend_.containers(named, gone);
  }
  Result<std::vector<ReclaimDecision>> reclaim(std::string_view container,
                                               const ReclaimOptions& options) override {
    return backend_.reclaim(container, options);
  }

 protected:
  Result<Segment> do_create(const SegmentUri& uri, const CreateOptions& options) override {
    return backend_.create(uri, options);
  }
  Result<Segment> do_attach(const SegmentUri& uri, const AttachOptions& options) override {
    return backend_.attach(uri, options);
  }
  Result<Segment> do_create_anonymous(const CreateOptions& options) override {
    return backend_.create_anonymous(options);
  }
  Result<Segment> do_attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                   const AttachOptions& options) override {
    return backend_.attach_handle(handle, std::move(descriptors), options);
  }

 private:
  Backend& backend_;
};

inline Catalog catalog_of(Backend& backend) {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<Borrowed>(backend));
  return Catalog(std::move(backends));
}

}  // namespace strata::inline v0_1
