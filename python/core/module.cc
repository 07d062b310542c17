#include <nanobind/nanobind.h>

#include "core/catalog.h"
#include "core/counters.h"
#include "core/dict.h"
#include "core/gpu.h"
#include "core/list.h"
#include "core/locks.h"
#include "core/pool.h"
#include "core/queue.h"
#include "core/segment.h"
#include "strata/version.h"

NB_MODULE(_core, module) {
  module.doc() = "The compiled part of strata; import strata.";
  // Views that live to the interpreter's end (a worker of PyTorch has some) are no fault of anybody.
  nanobind::set_leak_warnings(false);
  module.attr("__version__") = STRATA_VERSION_STRING;
  strata::python::bind_segment(module);
  strata::python::bind_catalog(module);
  strata::python::bind_list(module);
  strata::python::bind_pool(module);
  strata::python::bind_gpu(module);
  strata::python::bind_locks(module);
  strata::python::bind_sharded_lock(module);
  strata::python::bind_rw_lock(module);
  strata::python::bind_semaphores(module);
  strata::python::bind_event(module);
  strata::python::bind_condition(module);
  strata::python::bind_barrier(module);
  strata::python::bind_queue(module);
  strata::python::bind_counters(module);
  strata::python::bind_cell(module);
  strata::python::bind_dict(module);
}
