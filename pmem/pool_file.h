// A PoolFile reads the directory of a pool straight from the file, without libpmemobj, whose
// open takes milliseconds and the pool's only lock.
//   Threads:  const members any.
//   Errors:   open: not_found; invalid_argument (not a pool); unsupported (another layout, a
//             newer version, a pool set); corrupt; permission_denied.
//             reads: not_ready while a process changes the directory, or died doing so: try
//             again, then let Pool recover it; corrupt.
//   Cost:     find(): four reads of some kilobytes, whatever the size of the pool.
// Every byte of the file is taken as hostile: it is copied out by pread, which neither faults
// on a truncated file nor changes under the checks, and then checked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "os/os.h"
#include "pmem/pool_format.h"
#include "segment/lease.h"
#include "strata/base/result.h"
#include "strata/segment/options.h"

namespace strata::inline v0_1 {

// A checked entry, and where and when it was read.
struct FoundEntry {
  std::uint32_t slot = 0;
  std::uint64_t sequence = 0;
  DirectoryEntry entry{};
};

// A checked copy of the whole directory: all slots, free ones too.
struct DirectoryCopy {
  DirectoryHead head{};
  std::vector<IndexEntry> index;
  std::vector<DirectoryEntry> entries;
  // Of each slot what is wrong with it; empty where it is sound.
  std::vector<std::string> problems;
};

struct PoolFile {
  // `access`: read_only opens the file for reading only. read_write gives a file with holes all
  // its blocks first, so that no store runs into a full disk. Errors: exhausted; unsupported where
  // the directory has features that a writer must know. All who write come through here.
  static Result<PoolFile> open(Os& os, const std::string& path, Access access);

  Result<DirectoryHead> read_head() const;
  // `version` 0 is the current one; others are looked for among the previous ones too.
  Result<FoundEntry> find(std::string_view name, std::uint64_t version = 0) const;
  // Errors: corrupt where head or index are damaged; a damaged entry is reported in `problems`.
  Result<DirectoryCopy> read_all() const;
  // Whether a change is under way, or was left in the middle.
  Result<bool> is_changing() const;
  // Whether nothing has changed since `sequence` was read.
  Result<bool> is_still(std::uint64_t sequence) const;

  // Whether the path still leads to this file: growing and repairing put another in its place.
  Result<bool> has_its_name() const;

  LockRange lock_range(std::uint32_t slot) const {
    return {fd.get(), kLockBaseBytes + slot * kLockRangeBytes};
  }

  Os* os = nullptr;
  std::string path;
  Fd fd;
  std::uint64_t file_bytes = 0;
  std::uint64_t directory_offset_bytes = 0;
};

// The last slot's locks must lie within off_t.
static_assert((std::uint64_t{INT64_MAX} - kLockBaseBytes) / kLockRangeBytes > kMaxSlots);

std::uint32_t hash_name(std::string_view name);
std::string_view entry_state_name(EntryState state);

// The checks of the parts, for readers that hold them in memory. Errors: corrupt, unsupported.
Result<void> check_head(const DirectoryHead& head);
Result<void> check_entry(const DirectoryEntry& entry, std::uint64_t file_bytes);

// For whoever is about to store into the segment: see file_blocks.h. Errors: exhausted.
Result<void> own_segment_blocks(const PoolFile& file, const DirectoryEntry& entry);

// Where the payloads of the segments are, ascending. A change of the directory can write all else.
std::vector<FileRange> payload_ranges(std::span<const DirectoryEntry> entries,
                                      std::uint64_t file_bytes);

// "NFS", "CIFS", … where `magic` (statfs f_type) is a file system that is shared over a network
// and does not keep mappings coherent between hosts; else empty.
std::string_view incoherent_file_system(std::uint64_t magic);

}  // namespace strata::inline v0_1
