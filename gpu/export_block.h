// What the header of a device segment says of its memory: bytes 3072..3583 of the header page, and
// where in the header file the page of timelines is. docs/format/device.md is its contract.
//   Threads:  the block never changes once the segment is published; the live word is an atomic.
//   Errors:   hostile bytes: read_export_block() gives a checked copy.
// All integers are little-endian, fixed width; unused bytes are zero.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "strata/base/result.h"
#include "strata/segment/header.h"
#include "strata/segment/options.h"

namespace strata::inline v0_1 {

// The header file: the header page, then the page of timelines (gpu/timeline_page.h).
inline constexpr std::uint64_t kTimelineOffsetBytes = kHeaderBytes;
inline constexpr std::uint64_t kDeviceHeaderFileBytes = 2 * kHeaderBytes;

inline constexpr std::array<char, 8> kExportMagic = {'D', 'E', 'V', 'M', 'E', 'M', '\r', '\n'};
inline constexpr std::uint32_t kExportVersion = 1;

struct ExportBlock {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t mechanism;       // DeviceMechanism, never automatic
  std::uint32_t driver_version;  // of the creator: 12040 is 12.4
  std::uint32_t reserved_a;
  std::array<std::uint8_t, 16> device_uuid;
  std::uint64_t allocation_bytes;
  std::uint64_t offset_bytes;           // of the payload in the allocation
  std::array<char, 32> pci_address;     // "0000:3b:00.0", zero padded
  std::array<char, 64> device_name;     // zero padded; for people
  std::array<std::uint8_t, 64> handle;  // of IPC or fabric; zeros where a descriptor is asked for
  std::array<std::uint8_t, 36> reserved;
  std::uint32_t crc32c;  // of the bytes before it
};
static_assert(sizeof(ExportBlock) == 256);
static_assert(offsetof(ExportBlock, device_uuid) == 24);
static_assert(offsetof(ExportBlock, allocation_bytes) == 40);
static_assert(offsetof(ExportBlock, handle) == 152);
static_assert(offsetof(ExportBlock, crc32c) == 252);

// All that is the backend's own in the header page.
struct DeviceBlock {
  ExportBlock exported;  // 0
  // Not 0: whoever keeps the memory open for later use only is asked to let go of it.
  LiveWord<std::uint32_t> release_requested;  // 256
  std::array<std::uint8_t, 192> reserved;
};
static_assert(sizeof(DeviceBlock) == sizeof(HeaderPage::backend));
static_assert(offsetof(DeviceBlock, release_requested) == 256);

// The block of a page; its bytes are hostile.
DeviceBlock& device_block_of(HeaderPage& page);

// Fills in magic, version and crc32c. Call it last.
void sign(ExportBlock& block);

// A checked copy of the block that these bytes begin with. Errors: corrupt; unsupported for a
// version or a mechanism that this library does not know.
Result<ExportBlock> read_export_block(std::span<const std::byte> bytes);
// The same of a page, with the payload that its identity speaks of lying within the allocation.
Result<ExportBlock> read_export_block(const HeaderPage& page, const IdentityBlock& identity);

}  // namespace strata::inline v0_1
