// What Python waits with: locks, semaphores, events, conditions, barriers.
#pragma once

#include "core/errors.h"

namespace strata::python {

void bind_locks(nb::module_& module);

}  // namespace strata::python
