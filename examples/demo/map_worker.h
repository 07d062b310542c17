// Who builds the map: workers, which take shares of the texts and add their words, and the
// coordinator that starts them and waits for them. It is a process of its own as well, so that it
// can be killed; its workers end with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "strata/strata.h"

namespace demo {

struct MapWorkerOptions {
  std::size_t index = 0;
  std::string corpus_uri;
  std::string map_uri;
  // Once that many shares are done, it stops in the middle of its next transaction, to be killed.
  std::uint64_t pause_at = kNeverPause;

  static constexpr std::uint64_t kNeverPause = ~std::uint64_t{0};
};

strata::Result<void> run_map_worker(strata::Catalog& catalog, strata::Os& os,
                                    const MapWorkerOptions& options);

struct MapCoordinatorOptions {
  std::string corpus_uri;
  std::string map_uri;
  std::size_t workers = 0;
  std::vector<std::uint64_t> pauses;  // of the first workers
};

// Starts where a coordinator before it was killed, and ends when all shares are done.
strata::Result<void> run_map_coordinator(strata::Catalog& catalog,
                                         const MapCoordinatorOptions& options);

}  // namespace demo
