// What processes do with "cuda:" segments, one by one, for suites that kill a process at each of
// its calls, or let each of them fail.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "segment/backend.h"
#include "tests/gpu/cuda_world.h"

namespace strata::inline v0_1::test {

// What somebody holds all the time, and what the operations are about.
inline const SegmentUri kLive{"cuda", {}, "live"};
inline const SegmentUri kTarget{"cuda", {}, "target"};

struct CudaOperation {
  std::string name;
  // Makes the target as the operation needs it, and returns who keeps it, if anybody.
  std::function<std::unique_ptr<Keeper>(CudaWorld&)> prepare;
  // Runs in the process that is killed, or whose calls fail.
  std::function<Result<void>(Backend&)> run;
  // What a later attacher may be told where it does not find the target whole.
  std::vector<Code> allowed;
  bool needs_driver = true;
};

std::vector<CudaOperation> cuda_operations();

}  // namespace strata::inline v0_1::test
