#include "strata/segment/handle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "segment/handle_version.h"
#include "strata/segment/uri.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint32_t kHandleMagic = 0x48545253;  // "SRTH" in little-endian order
constexpr std::string_view kSocketScheme = "socket:";
constexpr std::uint64_t kMaxAddressSpaceBytes = std::uint64_t{1} << 47;

// The bytes that travel; the locator follows.
struct WireHandle {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t length_bytes;  // with the locator
  std::uint8_t kind;
  std::uint8_t access;
  std::uint8_t descriptor_count;
  std::uint8_t reserved_a;
  std::uint32_t locator_bytes;
  std::array<std::uint8_t, 16> uuid;
  std::uint64_t payload_offset_bytes;
  std::uint64_t payload_bytes;
  std::uint64_t max_bytes;
  std::uint64_t generation;
  std::array<std::uint8_t, 16> boot_id;
  std::uint32_t exporter_pid;
  std::uint32_t mechanism;
  std::uint64_t exporter_start_time_ticks;
  std::uint64_t exporter_pid_namespace;
  std::array<std::uint8_t, 16> device_uuid;
  std::uint64_t allocation_bytes;
  std::uint32_t driver_version;
  std::uint32_t control_slot;
  std::array<std::uint8_t, 52> reserved_b;
  std::uint32_t crc32c;  // of the bytes before it, then of the locator
};
static_assert(sizeof(WireHandle) == kHandleFixedBytes);
static_assert(offsetof(WireHandle, uuid) == 16);
static_assert(offsetof(WireHandle, boot_id) == 64);
static_assert(offsetof(WireHandle, device_uuid) == 104);
static_assert(offsetof(WireHandle, crc32c) == 188);
static_assert(kHandleBeginningBytes == offsetof(WireHandle, kind));
static_assert(kMaxHandleBytes <= UINT16_MAX);

std::uint32_t crc_of(const WireHandle& wire, std::span<const std::byte> locator) {
  const auto before = std::as_bytes(std::span(&wire, 1)).first(offsetof(WireHandle, crc32c));
  return crc32c(locator, crc32c(before));
}

Unexpected corrupt(std::string why) { return fail(Code::corrupt, "handle: " + std::move(why)); }

Result<void> check_locator(const Handle& handle) {
  const std::string& locator = handle.locator;
  const auto bad = [](std::string why) { return fail(Code::invalid_argument, std::move(why)); };
  if (locator.size() > kMaxLocatorBytes) {
    return bad(
        fmt::format("the locator has {} bytes, at most {} fit", locator.size(), kMaxLocatorBytes));
  }
  if (locator.empty()) {
    if (handle.descriptor_count == 0) return bad("neither a locator nor a descriptor");
    return {};
  }
  if (locator.starts_with(kSocketScheme)) {
    const std::string_view path = std::string_view(locator).substr(kSocketScheme.size());
    if (path.starts_with('/') && path.find('\0') == std::string_view::npos) return {};
    return bad("the locator is a socket without an absolute path");
  }
  STRATA_ASSIGN(const SegmentUri uri, SegmentUri::parse(locator));
  if (uri.scheme != kind_name(handle.kind)) {
    return bad(fmt::format("the locator leads to no {}: segment", kind_name(handle.kind)));
  }
  // A path that is relative means something else to each process.
  if (!uri.container.empty() && uri.container.front() != '/') {
    return bad("the locator's path is not absolute");
  }
  return {};
}

// Relations between fields that no sender of ours can break.
Result<void> check_fields(const Handle& handle) {
  const auto bad = [](std::string why) { return fail(Code::invalid_argument, std::move(why)); };
  if (handle.payload_bytes == 0 || handle.payload_bytes > handle.max_bytes ||
      handle.max_bytes > kMaxAddressSpaceBytes) {
    return bad(fmt::format("{} bytes of at most {}", handle.payload_bytes, handle.max_bytes));
  }
  if (handle.payload_offset_bytes % kPageBytes != 0 ||
      handle.payload_offset_bytes > kMaxAddressSpaceBytes) {
    return bad(fmt::format("payload offset {}", handle.payload_offset_bytes));
  }
  if (handle.descriptor_count > kMaxHandleDescriptors) {
    return bad(fmt::format("{} descriptors, at most {} ride along", handle.descriptor_count,
                           kMaxHandleDescriptors));
  }
  return check_locator(handle);
}

bool is_zero(std::span<const std::uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

// What the fixed part says of its own shape.
Result<void> check_shape(const WireHandle& wire, std::span<const std::byte> locator) {
  if (wire.crc32c != crc_of(wire, locator)) return corrupt("fails its checksum");
  if (wire.reserved_a != 0 || !is_zero(wire.reserved_b)) {
    return fail(Code::unsupported, "handle: has fields that this version does not know");
  }
  if (wire.locator_bytes != locator.size()) {
    return corrupt(
        fmt::format("a locator of {} bytes, {} came", wire.locator_bytes, locator.size()));
  }
  if (!segment_kind(wire.kind)) return corrupt(fmt::format("kind {}", wire.kind));
  if (wire.access < 1 || wire.access > 3) return corrupt(fmt::format("access {}", wire.access));
  return {};
}

}  // namespace

Result<std::vector<std::byte>> encode(const Handle& handle) {
  if (auto valid = check_fields(handle); !valid) return unexpected(valid.error().in("handle"));
  WireHandle wire{};
  wire.magic = kHandleMagic;
  wire.version = kHandleVersion;
  wire.length_bytes = static_cast<std::uint16_t>(kHandleFixedBytes + handle.locator.size());
  wire.kind = static_cast<std::uint8_t>(handle.kind);
  wire.access = static_cast<std::uint8_t>(handle.access);
  wire.descriptor_count = static_cast<std::uint8_t>(handle.descriptor_count);
  wire.locator_bytes = static_cast<std::uint32_t>(handle.locator.size());
  wire.uuid = handle.uuid;
  wire.payload_offset_bytes = handle.payload_offset_bytes;
  wire.payload_bytes = handle.payload_bytes;
  wire.max_bytes = handle.max_bytes;
  wire.generation = handle.generation;
  wire.boot_id = handle.boot_id;
  wire.exporter_pid = handle.exporter_pid;
  wire.mechanism = handle.mechanism;
  wire.exporter_start_time_ticks = handle.exporter_start_time_ticks;
  wire.exporter_pid_namespace = handle.exporter_pid_namespace;
  wire.device_uuid = handle.device_uuid;
  wire.allocation_bytes = handle.allocation_bytes;
  wire.driver_version = handle.driver_version;
  wire.control_slot = handle.control_slot;
  const auto locator = std::as_bytes(std::span(handle.locator));
  wire.crc32c = crc_of(wire, locator);
  const auto fixed = std::as_bytes(std::span(&wire, 1));
  std::vector<std::byte> bytes(fixed.begin(), fixed.end());
  bytes.insert(bytes.end(), locator.begin(), locator.end());
  return bytes;
}

Result<std::size_t> handle_bytes(std::span<const std::byte> beginning) {
  if (beginning.size() < kHandleBeginningBytes) {
    return corrupt(fmt::format("only {} bytes", beginning.size()));
  }
  WireHandle wire{};
  std::memcpy(&wire, beginning.data(), kHandleBeginningBytes);
  if (wire.magic != kHandleMagic) return corrupt("wrong magic");
  if (wire.version != kHandleVersion) {
    return fail(Code::unsupported,
                fmt::format("handle: version {}, this library reads {}: let both processes use one "
                            "version of Strata, or give the other the segment's URI",
                            wire.version, kHandleVersion));
  }
  if (wire.length_bytes < kHandleFixedBytes || wire.length_bytes > kMaxHandleBytes) {
    return corrupt(fmt::format("a length of {} bytes", wire.length_bytes));
  }
  return wire.length_bytes;
}

Result<Handle> decode(std::span<const std::byte> bytes) {
  STRATA_ASSIGN(const std::size_t length, handle_bytes(bytes));
  if (length != bytes.size()) {
    return corrupt(fmt::format("{} bytes, it says {}", bytes.size(), length));
  }
  WireHandle wire;
  std::memcpy(&wire, bytes.data(), sizeof wire);
  const auto locator = bytes.subspan(kHandleFixedBytes);
  STRATA_TRY(check_shape(wire, locator));
  Handle handle;
  handle.kind = static_cast<SegmentKind>(wire.kind);
  handle.access = static_cast<Access>(wire.access);
  handle.uuid = wire.uuid;
  handle.payload_offset_bytes = wire.payload_offset_bytes;
  handle.payload_bytes = wire.payload_bytes;
  handle.max_bytes = wire.max_bytes;
  handle.generation = wire.generation;
  handle.boot_id = wire.boot_id;
  handle.exporter_pid = wire.exporter_pid;
  handle.exporter_start_time_ticks = wire.exporter_start_time_ticks;
  handle.exporter_pid_namespace = wire.exporter_pid_namespace;
  handle.descriptor_count = wire.descriptor_count;
  handle.locator.assign(reinterpret_cast<const char*>(locator.data()), locator.size());
  handle.mechanism = wire.mechanism;
  handle.device_uuid = wire.device_uuid;
  handle.allocation_bytes = wire.allocation_bytes;
  handle.driver_version = wire.driver_version;
  handle.control_slot = wire.control_slot;
  if (auto valid = check_fields(handle); !valid) return corrupt(valid.error().message());
  return handle;
}

}  // namespace strata::inline v0_1
