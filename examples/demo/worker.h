// A worker: a process of its own that knows nothing but two names.
#pragma once

#include <cstddef>
#include <string>

#include "strata/strata.h"

namespace demo {

struct WorkerOptions {
  std::size_t index = 0;
  std::string corpus_uri;
  std::string work_uri;
  std::string scratch_uri;  // a segment of its own, which ends with it
};

strata::Result<void> run_worker(strata::Catalog& catalog, strata::Os& os,
                                const WorkerOptions& options);

// Memory of this process that it shares with nobody, from /proc/self/smaps_rollup.
std::uint64_t private_bytes(strata::Os& os);

}  // namespace demo
