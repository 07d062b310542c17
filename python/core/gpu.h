#pragma once

#include <nanobind/nanobind.h>

namespace strata::python {

void bind_gpu(nanobind::module_& module);

}  // namespace strata::python
