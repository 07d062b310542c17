// strata._pmdk is linked with PMDK's libraries, so that what makes wheels sees them, and shows
// where their functions are. Importing it loads them.
#define PY_SSIZE_T_CLEAN
#include <pyconfig.h>
#ifndef Py_GIL_DISABLED  // a free-threaded interpreter has no limited API
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>
#define PMEMOBJ_DIRECT_NON_INLINE
#include <libpmem2.h>
#include <libpmemobj.h>
#include <libpmempool.h>

#include "python/pmdk/functions.h"

namespace {

// pmempool.h gives its functions other names by macros; the list has the names of the libraries.
#define STRATA_ENTRY(function) {#function, reinterpret_cast<void*>(&function)},
const strata::python::PmdkFunction functions[] = {
    STRATA_PMDK_FUNCTIONS(STRATA_ENTRY){nullptr, nullptr}};
#undef STRATA_ENTRY

int fill(PyObject* module) {
  PyObject* const capsule = PyCapsule_New(const_cast<strata::python::PmdkFunction*>(functions),
                                          strata::python::kPmdkCapsule, nullptr);
  if (capsule == nullptr) return -1;
  const int result = PyModule_AddObjectRef(module, "functions", capsule);
  Py_DECREF(capsule);
  return result;
}

PyModuleDef_Slot slots[] = {{Py_mod_exec, reinterpret_cast<void*>(fill)}, {0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "_pmdk",
                          "PMDK's functions, for strata._core.",
                          0,
                          nullptr,
                          slots,
                          nullptr,
                          nullptr,
                          nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__pmdk() { return PyModuleDef_Init(&definition); }
