// A worker of part two: takes shares of the texts and adds their words to the shared map.
#pragma once

#include <cstddef>
#include <string>

#include "strata.h"

namespace demo {

struct MapWorkerOptions {
  std::size_t index = 0;
  std::string corpus_uri;
  std::string map_uri;
};

strata::Result<void> run_map_worker(strata::Catalog& catalog, strata::Os& os,
                                    const MapWorkerOptions& options);

}  // namespace demo
