#include "segment/handle.h"

#include <fmt/format.h>

#include <cstring>

#include "base/crc32c.h"

namespace strata {
namespace {

constexpr std::uint32_t kHandleMagic = 0x48545253;  // "SRTH" in little-endian order
constexpr std::uint16_t kHandleVersion = 1;

// The bytes that travel; fields of other kinds of memory keep their places and are zero.
struct WireHandle {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t length_bytes;
  std::uint8_t kind;
  std::uint8_t mechanisms;  // cuda
  std::uint8_t access;
  std::uint8_t location_type;  // cuda
  std::int32_t location_id;    // cuda
  std::array<std::uint8_t, 16> device_uuid;
  std::uint64_t max_bytes;  // of the payload's address space
  std::uint64_t payload_offset_bytes;
  std::uint64_t payload_bytes;
  std::array<std::uint8_t, 8> segment_uuid_low;
  std::uint64_t generation;
  std::uint32_t exporter_pid;
  std::uint32_t driver_version;  // cuda
  std::uint64_t exporter_start_time_ticks;
  std::uint64_t exporter_pid_namespace;
  std::array<std::uint8_t, 16> boot_id;
  std::array<std::uint8_t, 8> segment_uuid_high;
  std::uint32_t descriptor_count;
  std::uint32_t control_flags;  // cuda
  std::array<char, 64> name;    // zero padded; cuda: opaque
  std::array<char, 56> socket_path;
  std::uint32_t reserved;
  std::uint32_t crc32c;
};
static_assert(sizeof(WireHandle) == kHandleBytes);
static_assert(offsetof(WireHandle, max_bytes) == 32);
static_assert(offsetof(WireHandle, exporter_pid) == 72);
static_assert(offsetof(WireHandle, boot_id) == 96);
static_assert(offsetof(WireHandle, name) == 128);
static_assert(offsetof(WireHandle, crc32c) == 252);

std::uint32_t crc_of(const WireHandle& wire) {
  return crc32c(std::as_bytes(std::span(&wire, 1)).first(offsetof(WireHandle, crc32c)));
}

Unexpected corrupt(std::string why) { return fail(Code::corrupt, "handle: " + std::move(why)); }

}  // namespace

Result<std::array<std::byte, kHandleBytes>> encode(const Handle& handle) {
  WireHandle wire{};
  if (handle.name.size() >= wire.name.size()) {
    return fail(Code::unsupported,
                fmt::format("handle: name '{}' has over {} bytes; send the URI instead",
                            handle.name, wire.name.size() - 1));
  }
  wire.magic = kHandleMagic;
  wire.version = kHandleVersion;
  wire.length_bytes = kHandleBytes;
  wire.kind = static_cast<std::uint8_t>(handle.kind);
  wire.access = static_cast<std::uint8_t>(handle.access);
  wire.max_bytes = handle.max_bytes;
  wire.payload_offset_bytes = handle.payload_offset_bytes;
  wire.payload_bytes = handle.payload_bytes;
  std::memcpy(wire.segment_uuid_low.data(), handle.uuid.data(), 8);
  std::memcpy(wire.segment_uuid_high.data(), handle.uuid.data() + 8, 8);
  wire.generation = handle.generation;
  wire.exporter_pid = handle.exporter_pid;
  wire.exporter_start_time_ticks = handle.exporter_start_time_ticks;
  wire.exporter_pid_namespace = handle.exporter_pid_namespace;
  wire.boot_id = handle.boot_id;
  wire.descriptor_count = handle.descriptor_count;
  std::memcpy(wire.name.data(), handle.name.data(), handle.name.size());
  wire.crc32c = crc_of(wire);
  std::array<std::byte, kHandleBytes> bytes;
  std::memcpy(bytes.data(), &wire, sizeof wire);
  return bytes;
}

Result<Handle> decode(std::span<const std::byte> bytes) {
  if (bytes.size() != kHandleBytes) {
    return corrupt(fmt::format("{} bytes, not {}", bytes.size(), kHandleBytes));
  }
  WireHandle wire;
  std::memcpy(&wire, bytes.data(), sizeof wire);
  if (wire.magic != kHandleMagic) return corrupt("wrong magic");
  if (wire.crc32c != crc_of(wire)) return corrupt("fails its checksum");
  if (wire.version != kHandleVersion || wire.length_bytes != kHandleBytes) {
    return fail(Code::unsupported,
                fmt::format("handle: version {} of {} bytes", wire.version, wire.length_bytes));
  }
  if (wire.kind < 1 || wire.kind > 4) return corrupt(fmt::format("kind {}", wire.kind));
  if (wire.access < 1 || wire.access > 3) return corrupt(fmt::format("access {}", wire.access));
  if (wire.payload_bytes == 0 || wire.payload_bytes > wire.max_bytes) {
    return corrupt(fmt::format("{} bytes of at most {}", wire.payload_bytes, wire.max_bytes));
  }
  if (wire.descriptor_count > 2) {
    return corrupt(fmt::format("{} descriptors", wire.descriptor_count));
  }
  if (wire.name.back() != '\0') return corrupt("the name has no end");
  Handle handle;
  handle.kind = static_cast<SegmentKind>(wire.kind);
  handle.access = static_cast<Access>(wire.access);
  std::memcpy(handle.uuid.data(), wire.segment_uuid_low.data(), 8);
  std::memcpy(handle.uuid.data() + 8, wire.segment_uuid_high.data(), 8);
  handle.payload_offset_bytes = wire.payload_offset_bytes;
  handle.payload_bytes = wire.payload_bytes;
  handle.max_bytes = wire.max_bytes;
  handle.generation = wire.generation;
  handle.exporter_pid = wire.exporter_pid;
  handle.exporter_start_time_ticks = wire.exporter_start_time_ticks;
  handle.exporter_pid_namespace = wire.exporter_pid_namespace;
  handle.boot_id = wire.boot_id;
  handle.descriptor_count = wire.descriptor_count;
  handle.name = padded_text(wire.name);
  return handle;
}

}  // namespace strata
