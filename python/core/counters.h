// Values that processes change without a lock of their own: counters, and cells.
#pragma once

#include "python/core/errors.h"

namespace strata::python {

void bind_counters(nb::module_& module);
void bind_cell(nb::module_& module);

}  // namespace strata::python
