// What the CUDA driver of this machine can do for cuda: segments, each thing tried out, and why
// not. For `strata doctor`.
//   Threads:  one.
//   Errors:   none: what cannot be found out is said to be missing.
//   Cost:     starts the driver where there is one, and a context on each GPU: up to seconds.
#pragma once

#include <vector>

#include "numa/doctor_facts.h"
#include "tools/command/command.h"

namespace strata::inline v0_1::tools {

std::vector<DoctorFact> gpu_facts(Context& context);

}  // namespace strata::inline v0_1::tools
