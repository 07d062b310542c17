// A Handle is what one process gives another so that it can attach: 256 self-describing bytes.
// Descriptors, where the segment has no name, ride beside it (SCM_RIGHTS or inheritance).
//   Errors:   a handle comes from outside, so it is hostile until decode() has checked it: crc,
//             version, bounds. Whoever attaches then compares it with the segment's own header.
// Layout: docs/format/handle.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "segment/header.h"
#include "segment/options.h"

namespace strata {

inline constexpr std::size_t kHandleBytes = 256;

struct Handle {
  SegmentKind kind = SegmentKind::shm;
  Access access = Access::read_write;  // the most that the sender grants
  std::array<std::uint8_t, 16> uuid{};
  std::uint64_t payload_offset_bytes = 0;
  std::uint64_t payload_bytes = 0;
  std::uint64_t max_bytes = 0;
  std::uint64_t generation = 0;
  std::uint32_t exporter_pid = 0;
  std::uint64_t exporter_start_time_ticks = 0;
  std::uint64_t exporter_pid_namespace = 0;
  std::array<std::uint8_t, 16> boot_id{};
  std::uint32_t descriptor_count = 0;  // that ride along: 0 for a named segment
  std::string name;                    // up to 63 bytes; longer names travel as a URI

  bool operator==(const Handle&) const = default;
};

Result<std::array<std::byte, kHandleBytes>> encode(const Handle& handle);
Result<Handle> decode(std::span<const std::byte> bytes);

}  // namespace strata
