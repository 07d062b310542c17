// Looks at a pool without changing it: what it is, and whether all of it is sound.
//   Threads:  any.
//   Errors:   inspect: not_found, permission_denied; what a file is not, is a fact and no error.
//             check_pool: only where nothing could be looked at; damage is in the report.
//   Cost:     inspect: the directory and the header pages. check_pool: reads every block that
//             has a checksum.
//   Persists: nothing. libpmemobj opens the pool copy-on-write, in a child process, which may
//             die of a damaged heap without harm.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "pmem/pool.h"
#include "segment/header.h"

namespace strata {

struct PoolSegmentInfo {
  std::string name;
  std::uint32_t slot = 0;
  std::uint64_t version = 0;
  EntryState state = EntryState::free;
  bool is_immutable = false;
  std::uint64_t object_offset_bytes = 0;
  std::uint64_t object_bytes = 0;
  std::uint64_t header_offset_bytes = 0;
  std::uint64_t payload_offset_bytes = 0;  // in the file
  std::uint64_t payload_bytes = 0;
  std::uint64_t max_bytes = 0;
  std::uint64_t checksum_block_bytes = 0;
  std::uint64_t published_unix_ns = 0;
  std::string uuid;
  SegmentState segment_state = SegmentState::blank;
  bool is_attached = false;
  bool is_attached_for_writing = false;
  std::string problem;
};

// What a file is, as far as can be told without believing it.
struct PoolInfo {
  std::string path;
  std::string kind;  // "strata", "libpmemobj", "libpmemblk", "libpmemlog", "pool set", "none"
  std::uint64_t file_bytes = 0;
  std::uint32_t pmdk_version = 0;
  std::string layout;
  std::string pmdk_uuid;
  std::string file_system_warning;  // empty, or why mappings are not coherent there
  // Of Strata pools only.
  std::uint16_t version_major = 0;
  std::uint16_t version_minor = 0;
  std::string uuid;
  std::uint32_t slots = 0;
  std::uint32_t used_slots = 0;
  std::uint64_t changes = 0;
  std::uint64_t heap_offset_bytes = 0;
  std::uint64_t directory_offset_bytes = 0;
  std::uint64_t directory_bytes = 0;
  bool is_in_change = false;
  std::vector<PoolSegmentInfo> segments;
  std::string problem;  // why the directory could not be read
};

Result<PoolInfo> inspect(Os& os, const std::string& path);

enum class CheckOutcome : std::uint8_t { sound, damaged, skipped };

struct CheckItem {
  std::string what;  // "header", "libpmemobj", "directory", "segment mesh version 3"
  CheckOutcome outcome = CheckOutcome::sound;
  std::string detail;  // what was verified, what is wrong, or why it was skipped
};

struct CheckReport {
  std::string path;
  std::vector<CheckItem> items;
  std::uint64_t segments_checked = 0;
  std::uint64_t blocks_verified = 0;
  bool is_sound() const;
};

struct CheckOptions {
  bool read_blocks = true;
  unsigned threads = 0;
  std::uint64_t timeout_ms = 60'000;
};

Result<CheckReport> check_pool(Os& os, const std::string& path, const CheckOptions& options = {});

}  // namespace strata
