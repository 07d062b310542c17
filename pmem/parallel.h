// Work on a long range in blocks, by several threads.
#pragma once

#include <cstdint>
#include <functional>

#include "strata/base/result.h"

namespace strata::inline v0_1 {

// Calls `work(first, last)` for consecutive pieces of [0, count), from `threads` threads at once
// (0: one for each processor, at most 8). Stops at the first failure and returns it.
//   Threads:  `work` runs on several threads, or on fewer where there can be no more (ulimit -u);
//             pieces of one thread are in rising order.
Result<void> for_pieces(std::uint64_t count, std::uint64_t piece, unsigned threads,
                        const std::function<Result<void>(std::uint64_t, std::uint64_t)>& work);

}  // namespace strata::inline v0_1
