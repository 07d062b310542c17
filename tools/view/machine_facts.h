// What this machine offers beside memory: the kernel's features, tried out and not guessed from
// its version; persistent memory. For `strata doctor`.
//   Threads:  any.
//   Errors:   none: what cannot be found out is said to be missing.
//   Cost:     a few dozen system calls; nothing is loaded and nothing is left behind.
#pragma once

#include <vector>

#include "numa/doctor_facts.h"
#include "os/os.h"

namespace strata::inline v0_1::tools {

std::vector<DoctorFact> kernel_facts(Os& os);
std::vector<DoctorFact> persistence_facts(Os& os);

}  // namespace strata::inline v0_1::tools
