// What stands where in a backup; docs/format/backup.md is its contract.
//   Errors:   every byte may be hostile; the restorer checks magic, version, crc and bounds.
// All integers are little-endian, fixed width; unused bytes are zero.
#pragma once

#include <array>
#include <cstdint>

#include "pmem/pool_format.h"
#include "strata/segment/header.h"

namespace strata::inline v0_1 {

inline constexpr std::array<char, 8> kBackupMagic = {'S', 'T', 'R', 'A', 'B', 'A', 'K', '1'};
inline constexpr std::uint16_t kBackupVersionMajor = 1;
inline constexpr std::uint16_t kBackupVersionMinor = 0;

// First in the file.
struct BackupHeader {
  std::array<char, 8> magic;
  std::uint64_t byte_order_mark;
  std::uint16_t version_major;
  std::uint16_t version_minor;
  std::uint32_t version_count;  // records that follow
  std::array<std::uint8_t, 16> pool_uuid;
  std::uint64_t pool_bytes;
  std::uint32_t slot_count;
  std::uint32_t reserved_a;
  std::uint64_t created_unix_ns;
  std::uint64_t file_bytes;  // of the whole backup
  std::array<std::uint8_t, 52> reserved_b;
  std::uint32_t crc32c;  // of the bytes before it
};
static_assert(sizeof(BackupHeader) == 128);

// Before each version: then follow the table of hashes (XXH3-64, one a block) and the payload,
// padded to a multiple of 8.
struct BackupRecord {
  DirectoryEntry entry;
  HeaderPage header;
  std::uint64_t payload_bytes;
  std::uint32_t block_bytes;
  std::uint32_t hashes_crc32c;
  std::array<std::uint8_t, 44> reserved;
  std::uint32_t crc32c;  // of the bytes before it
};
static_assert(sizeof(BackupRecord) == 512 + 4096 + 64);

}  // namespace strata::inline v0_1
