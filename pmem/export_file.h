// A version in a pool as a plain file.
//   Threads:  any; the copying is done by several threads.
//   Errors:   corrupt with the block where a checksum differs; already_exists.
//   Persists: the file appears under its name when it is complete and synced.
#pragma once

#include <string>

#include "strata/pmem/checkpoint.h"

namespace strata::inline v0_1 {

struct ExportOptions {
  unsigned threads = 0;
  ProgressFn progress = {};
  bool replace = false;  // an existing file
};

Result<LoadReport> export_file(const Pool& pool, const std::string& name, std::uint64_t version,
                               const std::string& path, const ExportOptions& options = {});

}  // namespace strata::inline v0_1
