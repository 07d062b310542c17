#include "segment/payload.h"

namespace strata::inline v0_1 {

Result<DeviceSpan> Payload::device_bytes() {
  return fail(Code::unsupported, "no device can address it");
}

Result<void> Payload::read(std::uint64_t, std::span<std::byte>) {
  return fail(Code::unsupported, "it cannot be read from the host");
}

Result<void> Payload::write(std::uint64_t, std::span<const std::byte>) {
  return fail(Code::unsupported, "it cannot be written from the host");
}

Result<void> Payload::settle(std::uint64_t payload_bytes) {
  if (durability().is_volatile()) return {};
  STRATA_ASSIGN(const std::byte* const start, host_bytes());
  return durability().persist(start, payload_bytes);
}

Result<PlacementReport> Payload::migrate(const Placement&, std::uint64_t) {
  return fail(Code::unsupported, "its pages cannot be moved");
}

}  // namespace strata::inline v0_1
