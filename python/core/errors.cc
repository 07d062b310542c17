#include "python/core/errors.h"

namespace strata::python {

void raise(const Status& status) {
  const std::string_view code = code_name(status.code());
  const nb::object error = nb::module_::import_("strata._errors")
                               .attr("make")(nb::str(code.data(), code.size()),
                                             nb::str(status.message().c_str()), status.sys_errno());
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
  throw nb::python_error();
}

void raise(Code code, const std::string& message) { raise(Status(code, message)); }

}  // namespace strata::python
