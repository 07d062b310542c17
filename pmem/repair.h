// Makes a sound pool of a damaged one: a new file with everything that can still be read.
//   Threads:  any.
//   Errors:   failed_precondition while anybody is attached (in place only); corrupt where
//             nothing can be read; exhausted. The damaged pool is never written to.
//   Cost:     a copy of the pool.
//   Persists: the repaired pool appears under its name when it is complete, opened and checked.
// Entries are taken from the directory and, where that is damaged, from the copies in the
// segments' own header pages, which are searched for in the whole file. A checkpoint with a bad
// block is left out: its older versions are not.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "pmem/check.h"

namespace strata {

struct RepairOptions {
  // Where the repaired pool goes; empty: "PATH.repaired".
  std::string to = {};
  // Then gives it the name of the damaged one, which is kept as "PATH.damaged".
  bool in_place = false;
};

struct RepairReport {
  std::string path;          // of the repaired pool
  std::string damaged_path;  // where the damaged one is now; in place only
  std::uint32_t versions_kept = 0;
  bool directory_was_rebuilt = false;
  std::vector<std::string> lost;
  CheckReport check;  // of the repaired pool
};

Result<RepairReport> repair_pool(Os& os, const std::string& path,
                                 const RepairOptions& options = {});

}  // namespace strata
