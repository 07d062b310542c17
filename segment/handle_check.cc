#include "segment/handle_check.h"

#include <fmt/format.h>

#include "segment/backend.h"

namespace strata::inline v0_1 {

Result<void> check_handle(const Handle& handle, const HandleRules& rules, Os& os,
                          const AttachOptions& options) {
  if (handle.kind != rules.kind) {
    return fail(Code::corrupt, fmt::format("it is of a {}: segment, not of a {}: one",
                                           kind_name(handle.kind), kind_name(rules.kind)));
  }
  if (!rules.outlives_boot && handle.boot_id != os.identity().boot_id) {
    return fail(Code::failed_precondition,
                "it is from another machine or boot, and its memory is not here");
  }
  if (options.access == Access::read_write && handle.access != Access::read_write) {
    return fail(Code::permission_denied,
                "it grants reading only: ask for read-only or copy-on-write access");
  }
  return {};
}

Result<void> check_led_to(const Handle& handle, const HandleFinding& found) {
  const auto stale = [&](std::string why) {
    return fail(Code::failed_precondition, std::move(why) + "; ask its sender for a new one");
  };
  const IdentityBlock& identity = found.identity;
  if (identity.kind != static_cast<std::uint32_t>(handle.kind) || identity.uuid != handle.uuid) {
    return stale(fmt::format("it is of segment {}, and what is there is another by now ({})",
                             uuid_text(handle.uuid), uuid_text(identity.uuid)));
  }
  if (found.generation != handle.generation) {
    return stale(
        fmt::format("it is of generation {}, and the segment's locks have begun anew "
                    "since (generation {})",
                    handle.generation, found.generation));
  }
  if (identity.payload_offset_bytes != handle.payload_offset_bytes ||
      identity.max_bytes != handle.max_bytes || found.payload_bytes < handle.payload_bytes) {
    return stale(
        fmt::format("it says {} bytes of at most {} at {}, and the segment has {} of at "
                    "most {} at {}",
                    handle.payload_bytes, handle.max_bytes, handle.payload_offset_bytes,
                    found.payload_bytes, identity.max_bytes, identity.payload_offset_bytes));
  }
  return {};
}

Result<void> check_led_to(const Handle& handle, const Segment& segment) {
  const auto& generation = segment.generation();
  return check_led_to(handle, {segment.identity(), generation.load(std::memory_order_acquire),
                               segment.payload_bytes()});
}

Result<SegmentUri> uri_of(const Handle& handle) {
  const std::string scheme = std::string(kind_name(handle.kind)) + ":";
  if (handle.locator.starts_with(scheme)) return SegmentUri::parse(handle.locator);
  return fail(Code::unsupported, fmt::format("its locator leads to no {} segment", scheme));
}

Result<Segment> attach_by_locator(Backend& backend, const Handle& handle,
                                  const AttachOptions& options) {
  STRATA_ASSIGN(const SegmentUri uri, uri_of(handle));
  STRATA_ASSIGN(Segment segment, backend.attach(uri, options));
  STRATA_TRY(check_led_to(handle, segment));
  return segment;
}

}  // namespace strata::inline v0_1
