// Makes a sound pool of a damaged one: a new file with everything that can still be read.
//   Threads:  any.
//   Errors:   failed_precondition while processes are attached (for writing; in place: at all), and
//             where the pool holds objects that are no segments, which are not copied; timed_out
//             while another process holds the pool; already_exists; corrupt where nothing can be
//             read; exhausted; unsupported where what is sound of the pool says that it, or a
//             segment in it, is of a later program: it would be made one of this program's. The
//             damaged pool is never written to.
//   Cost:     a copy of the pool.
//   Persists: the repaired pool appears under its name when it is complete, opened and checked. In
//             place: a process that is killed leaves the damaged or the repaired pool under the
//             name, and never none.
// From before the first look until the end it holds the pool's lock, so that no change that others
// made meanwhile is lost.
// Entries are taken from the directory and, where that is damaged, from the copies in the
// segments' own header pages, which are searched for in the whole file. A checkpoint with a bad
// block is left out: its older versions are not.
#pragma once

#include <string>
#include <vector>

#include "pmem/pool_check.h"
#include "strata/base/result.h"
#include "strata/os/deadline.h"

namespace strata::inline v0_1 {

struct RepairOptions {
  // Where the repaired pool goes; empty: "PATH.repaired".
  std::string to = {};
  // It takes the name of the damaged one, with owner, group, mode and extended attributes, and
  // that one is kept as "PATH.damaged", or the next of "PATH.damaged.2", … that is free.
  bool in_place = false;
  // Leave objects behind that are no segments, if there are any.
  bool drop_objects = false;
  Deadline deadline = Deadline::after_ms(10'000);
};

struct RepairReport {
  std::string path;          // of the repaired pool
  std::string damaged_path;  // where the damaged one is now; in place only
  std::uint32_t versions_kept = 0;
  bool directory_was_rebuilt = false;
  // False: nobody can say whether there were objects that are no segments.
  bool heap_was_walked = false;
  std::vector<std::string> lost;
  CheckReport check;  // of the repaired pool
};

Result<RepairReport> repair_pool(Os& os, const std::string& path,
                                 const RepairOptions& options = {});

}  // namespace strata::inline v0_1
