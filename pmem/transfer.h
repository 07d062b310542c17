// Between segments of a pool and plain files.
//   Threads:  any; the copying is done by several threads.
//   Errors:   import: not_found, already_exists is none (a new version is made), exhausted.
//             export: corrupt with the block where a checksum differs; already_exists.
//   Persists: import: the new version wholly or not at all. export: the file appears under its
//             name when it is complete and synced.
#pragma once

#include <string>

#include "pmem/checkpoint.h"

namespace strata {

// The bytes of `path` become a new version of `name`, with checksums.
Result<CheckpointReport> import_file(const std::string& path, const Pool& pool,
                                     const std::string& name,
                                     const CheckpointOptions& options = {});

struct ExportOptions {
  unsigned threads = 0;
  ProgressFn progress = {};
  bool replace = false;  // an existing file
};

Result<RestoreReport> export_file(const Pool& pool, const std::string& name, std::uint64_t version,
                                  const std::string& path, const ExportOptions& options = {});

}  // namespace strata
