// What of a pool can still be found, whatever is damaged in it.
//   Threads:  any.
//   Errors:   salvage: corrupt where there is nothing; unsupported for a foreign pool. What is
//             missing is no error, and is named in `lost`.
//   Cost:     the directory; where that is damaged, all of the file is read.
//   Persists: nothing.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "pmem/pool_file.h"
#include "strata/base/result.h"
#include "strata/pmem/pool.h"

namespace strata::inline v0_1 {

struct Salvage {
  std::vector<PoolEntry> entries;  // without problems
  std::uint32_t slots = 0;         // of the directory; 0 where it cannot be told
  bool directory_was_rebuilt = false;
  std::vector<std::string> lost;
  // Where the objects of segments are that the directory or `entries` name.
  std::set<std::uint64_t> object_offsets;
};

// `file`: of open_unchecked(). Nobody may change the directory meanwhile.
Result<Salvage> salvage(const PoolFile& file);

}  // namespace strata::inline v0_1
