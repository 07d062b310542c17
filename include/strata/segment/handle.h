// A Handle is what one process gives another so that it can attach: self-describing bytes, with a
// locator that says where the memory is. Descriptors, where nothing leads to it by name, ride
// beside it (SCM_RIGHTS or inheritance).
//   Threads:  a value.
//   Errors:   a handle comes from outside, so it is hostile until decode() has checked it: version,
//             lengths, checksum, bounds. Whoever attaches then compares it with what it led to
//             (segment/handle_check.h).
//   Persists: nothing; a handle of memory that ends with the boot is worth nothing after it.
// Layout: docs/format/handle.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "strata/base/result.h"
#include "strata/segment/header.h"
#include "strata/segment/options.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// The longest path, the longest name, and the scheme with what parts them.
inline constexpr std::size_t kMaxLocatorBytes = 4096 + 256 + 8;
inline constexpr std::size_t kHandleFixedBytes = 192;  // what comes before the locator
inline constexpr std::size_t kMaxHandleBytes = kHandleFixedBytes + kMaxLocatorBytes;
inline constexpr std::size_t kHandleBeginningBytes = 8;  // enough for handle_bytes()
inline constexpr std::size_t kMaxHandleDescriptors = 8;

struct Handle {
  SegmentKind kind = SegmentKind::shm;
  Access access = Access::read_write;  // the most that the sender grants
  std::array<std::uint8_t, 16> uuid{};
  std::uint64_t payload_offset_bytes = 0;
  std::uint64_t payload_bytes = 0;  // when it was made; the segment may have grown since
  std::uint64_t max_bytes = 0;
  std::uint64_t generation = 0;
  std::array<std::uint8_t, 16> boot_id{};
  // Who made it, for messages.
  std::uint32_t exporter_pid = 0;
  std::uint64_t exporter_start_time_ticks = 0;
  std::uint64_t exporter_pid_namespace = 0;
  std::uint32_t descriptor_count = 0;  // that ride along
  // Where the memory is: the segment's URI with an absolute path, as "shm:NAME" or
  // "pmem:/path/pool#NAME"; "socket:/path" of a server that gives descriptors; empty where the
  // descriptors that ride along are the memory.
  std::string locator = {};

  // Of device memory; all zero for memory of other kinds.
  std::uint32_t mechanism = 0;  // how it was exported, as its backend numbers the ways
  std::array<std::uint8_t, 16> device_uuid{};
  std::uint64_t allocation_bytes = 0;  // of the allocation that the payload lies in
  std::uint32_t driver_version = 0;    // of the exporter
  std::uint32_t control_slot = 0;      // the exporter's own, to find what it counts

  bool operator==(const Handle&) const = default;
};

// Errors: invalid_argument, naming the field that cannot be.
Result<std::vector<std::byte>> encode(const Handle& handle);
// Errors: corrupt; unsupported for another version, with what to do.
Result<Handle> decode(std::span<const std::byte> bytes);

// How long the handle is that begins with these kHandleBeginningBytes or more, at most
// kMaxHandleBytes: for reading it from a stream. Errors: as decode().
Result<std::size_t> handle_bytes(std::span<const std::byte> beginning);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
