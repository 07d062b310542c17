// What Python waits with: locks, semaphores, events, conditions, barriers.
#pragma once

#include "python/core/errors.h"

namespace strata::python {

void bind_locks(nb::module_& module);
void bind_semaphores(nb::module_& module);
void bind_event(nb::module_& module);
void bind_rw_lock(nb::module_& module);
void bind_condition(nb::module_& module);
void bind_barrier(nb::module_& module);
void bind_sharded_lock(nb::module_& module);

}  // namespace strata::python
