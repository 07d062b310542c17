// Which hwloc this is.
#pragma once

#include "os/loaded_library.h"

namespace strata::inline v0_1 {

LibraryVersion hwloc_version();

}  // namespace strata::inline v0_1
