#include "segment/backend.h"

#include <fmt/format.h>

#include "segment/attachment.h"
#include "segment/new_identity.h"

namespace strata::inline v0_1 {

std::vector<std::string> Backend::containers(const std::vector<std::string>&, GoneRecords) {
  return {""};
}

Result<Segment> Backend::keep_world_in(Result<Segment> made) const {
  if (!made) return made;
  Attachment& attachment = attachment_of(*made);
  attachment.capabilities = &capabilities();
  attachment.world = world_.lock();
  return made;
}

Result<Segment> Backend::create(const SegmentUri& uri, CreateOptions options) {
  options.lifetime = options.lifetime.value_or(capabilities().default_lifetime());
  auto made = [&]() -> Result<Segment> {
    STRATA_TRY(check_name(uri.name));
    STRATA_TRY(complete_create_options(options));
    STRATA_TRY(check_create_options(options));
    STRATA_TRY(capabilities().check(options));
    return keep_world_in(do_create(uri, options));
  }();
  if (!made) return unexpected(made.error().in("create " + uri.to_string()));
  return made;
}

Result<Segment> Backend::attach(const SegmentUri& uri, const AttachOptions& options) {
  auto attached = [&]() -> Result<Segment> {
    STRATA_TRY(check_name(uri.name));
    STRATA_TRY(capabilities().check(options));
    return keep_world_in(do_attach(uri, options));
  }();
  if (!attached) return unexpected(attached.error().in("attach " + uri.to_string()));
  return attached;
}

Result<Segment> Backend::create_anonymous(CreateOptions options) {
  options.lifetime = options.lifetime.value_or(capabilities().default_lifetime());
  auto made = [&]() -> Result<Segment> {
    STRATA_TRY(complete_create_options(options));
    STRATA_TRY(check_create_options(options));
    STRATA_TRY(capabilities().require(Capability::anonymous));
    STRATA_TRY(capabilities().check(options));
    return keep_world_in(do_create_anonymous(options));
  }();
  if (!made) return unexpected(made.error().in("create an anonymous segment"));
  return made;
}

Result<Segment> Backend::attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                       const AttachOptions& options) {
  auto attached = [&]() -> Result<Segment> {
    STRATA_TRY(capabilities().check(options));
    return keep_world_in(do_attach_handle(handle, std::move(descriptors), options));
  }();
  if (!attached) return unexpected(attached.error().in("attach a handle"));
  return attached;
}

Result<Segment> Backend::do_create_anonymous(const CreateOptions&) {
  return fail(Code::unsupported, fmt::format("{}: has no anonymous segments", scheme()));
}

Result<Segment> Backend::do_attach_handle(const Handle&, std::vector<Fd>, const AttachOptions&) {
  return fail(Code::unsupported, fmt::format("{}: takes no handles", scheme()));
}

}  // namespace strata::inline v0_1
