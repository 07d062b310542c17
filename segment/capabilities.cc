#include "strata/segment/capabilities.h"

#include <fmt/format.h>

namespace strata::inline v0_1 {

std::string_view capability_name(Capability capability) {
  switch (capability) {
    case Capability::host_bytes: return "host bytes";
    case Capability::device_bytes: return "device bytes";
    case Capability::grow: return "grow";
    case Capability::migrate: return "migrate";
    case Capability::placement: return "placement";
    case Capability::huge_pages: return "hugetlb pages";
    case Capability::persist: return "persist";
    case Capability::heap: return "heap";
    case Capability::copy_on_write: return "copy-on-write";
    case Capability::anonymous: return "anonymous";
  }
  return "unknown";
}

Capabilities& Capabilities::without(Capability capability, std::string_view why) {
  why_not_[static_cast<std::size_t>(capability)] = why;
  return *this;
}

Capabilities& Capabilities::with_lifetime(Lifetime lifetime) {
  default_lifetime_ = lifetime;
  return *this;
}

Result<void> Capabilities::require(Capability capability) const {
  if (has(capability)) return {};
  return fail(Code::unsupported,
              fmt::format("{}: {}", capability_name(capability), why_not(capability)));
}

Result<void> Capabilities::check(const CreateOptions& options) const {
  if (options.placement.kind != Placement::Kind::local && !has(Capability::placement)) {
    return fail(Code::unsupported, fmt::format("placement {}: {}", options.placement.to_string(),
                                               why_not(Capability::placement)));
  }
  if (options.page_size == PageSize::huge_2m || options.page_size == PageSize::huge_1g) {
    STRATA_TRY(require(Capability::huge_pages));
  }
  const bool is_for_device = options.device != DeviceRequest{};
  if (is_for_device) STRATA_TRY(require(Capability::device_bytes));
  if (options.max_bytes > options.payload_bytes) STRATA_TRY(require(Capability::grow));
  return {};
}

Result<void> Capabilities::check(const AttachOptions& options) const {
  if (options.access == Access::copy_on_write) STRATA_TRY(require(Capability::copy_on_write));
  if (!options.device.empty()) STRATA_TRY(require(Capability::device_bytes));
  return {};
}

}  // namespace strata::inline v0_1
