// Looks at a pool without changing it: what it is, and whether all of it is sound.
//   Threads:  any.
//   Errors:   inspect: not_found, permission_denied; what a file is not, is a fact and no error.
//             check_pool: not_found; unsupported for what is no Strata pool. Damage, and what
//             could not be looked at, is in the report.
//   Cost:     inspect: the directory and the header pages. check_pool: reads every block that
//             has a checksum, and holds changers off while it makes a PoolCopy.
//   Persists: nothing. libpmemobj sees only the copy, in child processes, which may die of a
//             damaged heap without harm.
// Others may use and change the pool meanwhile: the report is of the moment of the copy, of all
// versions that were still there when they were read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/check_outcome.h"
#include "pmem/other_objects.h"
#include "pmem/pool_access.h"
#include "strata/base/result.h"
#include "strata/pmem/pool.h"
#include "strata/segment/header.h"

namespace strata::inline v0_1 {

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
  Code problem_code = Code::corrupt;  // unsupported: it is of a later program, and not damaged
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
  std::uint64_t unknown_read_only_features = 0;  // with any, it can be read and not changed
  std::vector<PoolSegmentInfo> segments;
  std::string problem;                // why the directory could not be read
  Code problem_code = Code::corrupt;  // of that problem, where there is one

  bool is_damaged() const { return !problem.empty() && problem_code == Code::corrupt; }
};

Result<PoolInfo> inspect(Os& os, const std::string& path);

// What is no Strata pool: unsupported, with what it is instead.
Result<void> require_strata_pool(const PoolInfo& info);

struct CheckItem {
  std::string what;  // "pmempool", "libpmemobj", "directory", "segment mesh version 3"
  CheckOutcome outcome = CheckOutcome::sound;
  std::string detail;  // what was verified, what is wrong, or why it could not be looked at
};

struct CheckReport {
  std::string path;
  std::vector<CheckItem> items;
  std::uint64_t segments_checked = 0;
  std::uint64_t blocks_verified = 0;
  OtherObjects other_objects;  // without what is left of segments, which is a finding
  // A changer died: the next use of the pool completes its change or rolls it back. Until then
  // attaching would change the pool.
  bool is_interrupted = false;
  // Damaged if any part is; else busy, else unknown, if any is; sound only if every part is.
  CheckOutcome verdict() const;
  bool is_sound() const { return verdict() == CheckOutcome::sound; }
};

struct CheckOptions {
  bool read_blocks = true;
  unsigned threads = 0;
  // For each thing that libpmemobj does with the copy, in time of the processor; ten times as much
  // on the clock. Longer than that is unknown.
  std::uint64_t timeout_ms = 60'000;
  // For others to let go of the pool: longer than that is busy.
  std::uint64_t lock_timeout_ms = 5'000;
};

Result<CheckReport> check_pool(Os& os, const std::string& path, const CheckOptions& options = {});

}  // namespace strata::inline v0_1
