#include <nanobind/nanobind.h>

#include "python/core/catalog.h"
#include "python/core/counters.h"
#include "python/core/dict.h"
#include "python/core/gpu.h"
#include "python/core/list.h"
#include "python/core/locks.h"
#include "python/core/pool.h"
#include "python/core/queue.h"
#include "python/core/segment.h"
#include "strata/version.h"

NB_MODULE(_core, module) {
  module.doc() = "The compiled part of strata; import strata.";
  // Views that live to the interpreter's end (a worker of PyTorch has some) are no fault of
  // anybody.
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
