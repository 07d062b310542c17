// Parts two and three: processes build one map together, in memory and then in a pool; workers
// are killed in the middle of a transaction, and in the end everybody.
#pragma once

#include "examples/demo/count_part.h"
#include "examples/demo/story.h"
#include "strata/strata.h"

namespace demo {

strata::Result<void> build_map(Story& story, strata::Catalog& catalog, strata::Os& os,
                               const DemoOptions& options, const strata::Segment& corpus);

strata::Result<void> build_map_in_pool(Story& story, strata::Catalog& catalog, strata::Os& os,
                                       const DemoOptions& options, const strata::Segment& corpus);

}  // namespace demo
