#include "segment/backend.h"

#include <fmt/format.h>

#include "segment/attachment.h"
#include "segment/new_identity.h"

namespace strata {

std::vector<std::string> Backend::containers(const std::vector<std::string>&, GoneRecords) {
  return {""};
}

Result<Segment> Backend::settle_in(Result<Segment> made, std::string_view context) const {
  if (!made) return unexpected(made.error().in(context));
  Attachment& attachment = attachment_of(*made);
  attachment.capabilities = &capabilities();
  attachment.world = world_.lock();
  return made;
}

Result<Segment> Backend::create(const SegmentUri& uri, CreateOptions options) {
  options.lifetime = options.lifetime.value_or(capabilities().default_lifetime());
  auto made = [&]() -> Result<Segment> {
    STRATA_TRY(check_name(uri.name));
    STRATA_TRY(check_create_options(options));
    STRATA_TRY(capabilities().check(options));
    return do_create(uri, options);
  }();
  if (!made) return unexpected(made.error().in("create " + uri.to_string()));
  return settle_in(std::move(made), {});
}

Result<Segment> Backend::attach(const SegmentUri& uri, const AttachOptions& options) {
  auto attached = [&]() -> Result<Segment> {
    STRATA_TRY(check_name(uri.name));
    STRATA_TRY(capabilities().check(options));
    return do_attach(uri, options);
  }();
  // The text is made on failure alone.
  if (!attached) return unexpected(attached.error().in("attach " + uri.to_string()));
  return settle_in(std::move(attached), {});
}

Result<Segment> Backend::create_anonymous(CreateOptions options) {
  options.lifetime = options.lifetime.value_or(capabilities().default_lifetime());
  auto made = [&]() -> Result<Segment> {
    STRATA_TRY(check_create_options(options));
    STRATA_TRY(capabilities().require(Capability::anonymous));
    STRATA_TRY(capabilities().check(options));
    return do_create_anonymous(options);
  }();
  return settle_in(std::move(made), "create an anonymous segment");
}

Result<Segment> Backend::attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                       const AttachOptions& options) {
  auto attached = [&]() -> Result<Segment> {
    STRATA_TRY(capabilities().check(options));
    return do_attach_handle(handle, std::move(descriptors), options);
  }();
  return settle_in(std::move(attached), "attach a handle");
}

Result<Segment> Backend::do_create_anonymous(const CreateOptions&) {
  return fail(Code::unsupported, fmt::format("{}: has no anonymous segments", scheme()));
}

Result<Segment> Backend::do_attach_handle(const Handle&, std::vector<Fd>, const AttachOptions&) {
  return fail(Code::unsupported, fmt::format("{}: takes no handles", scheme()));
}

}  // namespace strata
