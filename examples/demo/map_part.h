// Part two: processes build one map together; two are killed in the middle of a transaction.
#pragma once

#include "examples/demo/count_part.h"
#include "examples/demo/story.h"
#include "strata.h"

namespace demo {

strata::Result<void> build_map(Story& story, strata::Catalog& catalog, strata::Os& os,
                               const DemoOptions& options, const strata::Segment& corpus);

}  // namespace demo
