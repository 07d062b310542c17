// Copies of whole pools, and larger ones in their place.
//   Threads:  any.
//   Errors:   failed_precondition while a segment is attached for writing, which could change
//             under the copy; already_exists; exhausted; timed_out with the holder named.
//   Cost:     a reflink where the file system has them (XFS, Btrfs), which copies nothing; else
//             the bytes that are not zero.
//   Persists: the new file appears under its name when it is complete and synced.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "strata/base/result.h"
#include "strata/pmem/pool.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

enum class CopyMethod : std::uint8_t { reflink, copy };

struct SnapshotOptions {
  bool replace = false;
  Deadline deadline = Deadline::after_ms(10'000);
};

struct SnapshotReport {
  CopyMethod method = CopyMethod::copy;
  std::uint64_t bytes = 0;
};

// A copy of the whole pool, with all versions. It is a pool like the first, of the same
// libpmemobj uuid: a program must not open both through libpmemobj at the same time.
Result<SnapshotReport> snapshot_pool(const Pool& pool, const std::string& to,
                                     const SnapshotOptions& options = {});

// A new segment of the same pool with the content of `from`; writable, without checksums.
Result<void> clone_segment(const Pool& pool, const std::string& from, std::uint64_t version,
                           const std::string& to, Deadline deadline = Deadline::after_ms(10'000));

struct GrowReport {
  std::uint64_t old_bytes = 0;
  std::uint64_t new_bytes = 0;
  std::uint32_t segments = 0;
};

// Writes a larger pool with the same segments and versions beside this one, then gives it the
// name. Why not in place: docs/adr/pool-growth.md.
// Errors: failed_precondition while anybody is attached, who would stay with the old file;
// invalid_argument when it would become smaller.
Result<GrowReport> grow_pool(const Pool& pool, std::uint64_t new_bytes,
                             Deadline deadline = Deadline::after_ms(60'000));

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
