// What can be told of one version by its entry, its locks and its header page.
//   Errors:   in `problem`. Of a version that nobody has leased it may be of the past already: a
//             problem counts only if the directory has not changed meanwhile.
#pragma once

#include "pmem/pool_check.h"

namespace strata::inline v0_1 {

PoolSegmentInfo describe_segment(const PoolFile& file, const PoolEntry& each);

}  // namespace strata::inline v0_1
