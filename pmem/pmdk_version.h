// Which libraries of PMDK these are.
#pragma once

#include <vector>

#include "os/loaded_library.h"

namespace strata::inline v0_1 {

// libpmem2, libpmemobj, libpmempool. The first has no version of its interface.
std::vector<LibraryVersion> pmdk_versions();

}  // namespace strata::inline v0_1
