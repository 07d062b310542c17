# Sets STRATA_LIBRARY_SOURCES and STRATA_COMMAND_SOURCES: all that stand in their folders, but for
# tests and what only these use. tests/package/cmake_test.py compares both with Bazel's targets.
set(test_code "(_test|_testing|_fuzz|_fixture)[.]cc$")
# Test doubles, by names that do not say so.
set(test_doubles
  base/step.cc
  gpu/interop/export_for_python.cc
  os/fault_os.cc
  os/staged_os.cc
  pmem/crash_medium.cc
  pmem/crash_oracle.cc
  segment/shadow_durability.cc)
# In a folder of the library, but for the command alone.
set(only_of_command numa/doctor_facts.cc numa/hwloc_version.cc)

function(sources_in variable)
  set(patterns ${ARGN})
  list(TRANSFORM patterns PREPEND ${PROJECT_SOURCE_DIR}/)
  list(TRANSFORM patterns APPEND /*.cc)
  file(GLOB_RECURSE found RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS ${patterns})
  list(FILTER found EXCLUDE REGEX ${test_code})
  list(REMOVE_ITEM found ${test_doubles} ${only_of_command})
  set(${variable} ${found} PARENT_SCOPE)
endfunction()

sources_in(STRATA_LIBRARY_SOURCES base os sync segment transaction numa heap shm pmem gpu c)
file(GLOB found RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/*.cc)
list(APPEND STRATA_LIBRARY_SOURCES ${found})

sources_in(STRATA_COMMAND_SOURCES tools)
list(APPEND STRATA_COMMAND_SOURCES ${only_of_command})

# The compiled kernels for devices, as a string of C++; gpu/kernels/BUILD has the same rule.
set(ptx_file ${PROJECT_SOURCE_DIR}/gpu/kernels/kernels.ptx)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${ptx_file})
file(READ ${ptx_file} ptx)
set(ptx_source ${PROJECT_BINARY_DIR}/gpu/kernels/ptx_text.cc)
file(CONFIGURE OUTPUT ${ptx_source} @ONLY CONTENT [[
#include "gpu/kernels/ptx_text.h"
namespace strata::cuda {
const char* const kKernelsPtx = R"PTX(
@ptx@)PTX";
}  // namespace strata::cuda
]])
list(APPEND STRATA_LIBRARY_SOURCES ${ptx_source})
