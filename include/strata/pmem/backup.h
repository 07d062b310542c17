// A pool as one file that goes to another machine, and back: docs/format/backup.md.
//   Threads:  any.
//   Errors:   backup: failed_precondition while a segment is attached for writing, and where the
//             pool holds objects that are no segments; timed_out with the holder named; corrupt
//             with the block where the pool is damaged; already_exists.
//             restore: invalid_argument (no backup), unsupported (byte order, version, features
//             of a segment), corrupt with the segment and the block; already_exists; exhausted.
//   Cost:     all that is copied; restore: once more for each size that turns out to be too small.
//   Persists: the file, or the new pool, appears under its name when it is complete. Of the pool
//             that is backed up no byte changes.
#pragma once

#include <cstdint>
#include <string>

#include "strata/base/result.h"
#include "strata/pmem/pool.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

struct BackupReport {
  std::uint32_t versions = 0;
  std::uint64_t payload_bytes = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t pool_bytes = 0;      // of the pool that was backed up, or made
  std::uint64_t old_pool_bytes = 0;  // of the pool that was backed up
};

struct BackupOptions {
  bool replace = false;
  Deadline deadline = Deadline::after_ms(10'000);
};

Result<BackupReport> backup_pool(const Pool& pool, const std::string& to,
                                 const BackupOptions& options = {});

struct RestorePoolOptions {
  // Of the new pool; 0: as the one that was backed up, or larger, where its versions need that.
  std::uint64_t bytes = 0;
};

Result<BackupReport> restore_pool(const std::string& from, const std::string& to,
                                  const RestorePoolOptions& options = {});
Result<BackupReport> restore_pool(Os& os, const std::string& from, const std::string& to,
                                  const RestorePoolOptions& options = {});

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
