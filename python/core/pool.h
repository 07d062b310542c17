#pragma once

#include <nanobind/nanobind.h>

namespace strata::python {

void bind_pool(nanobind::module_& module);

}  // namespace strata::python
