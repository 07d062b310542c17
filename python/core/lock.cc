// strata.Lock and strata.RLock.
#include "python/core/lock.h"

#include <nanobind/stl/string.h>

#include "python/core/async.h"
#include "python/core/hot_methods.h"
#include "python/core/locks.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

template <typename T>
void bind(nb::module_& module, const char* name, const char* doc) {
  nb::class_<T> type(module, name, nb::type_slots(HotMethods<T>::slots()),
                     nb::is_weak_referenceable(), doc);
  type.def(
          "__init__",
          [](T* self, nb::handle where, nb::handle permissions) {
            new (self) T{open_mutex(T::kType, where, permissions)};
          },
          "where"_a = nb::none(), nb::kw_only(), "permissions"_a = nb::none(),
          nb::sig("def __init__(self, where: str | Segment | None = None, *,"
                  " permissions: int | None = None) -> None"))
      .def("_try_acquire", &T::try_acquire_alone)
      .def(
          "locked", [](T& self) { return self.state->is_locked(); },
          "Whether somebody holds it, this thread included.")
      .def_prop_ro(
          "recovered", [](T& self) { return self.state->is_recovered(); },
          "True from when it was taken from a holder that died, until whoever holds it calls\n"
          "repaired(): what it guards may have been left half changed.")
      .def(
          "repaired", [](T& self) { self.state->mark_repaired(); },
          "What it guards is whole again. Raises StateError where this process does not hold it.")
      .def(
          "holder", [](T& self) { return self.state->holder(); },
          nb::sig("def holder(self) -> tuple[int, str] | None"),
          "The pid of who holds it and a text that describes it; None where nobody does. It looks\n"
          "through /proc, which takes milliseconds.")
      .def_prop_ro(
          "uri", [](T& self) { return self.state->uri(); },
          "The URI of its segment: whoever gives it to the class gets the same one.")
      .def_prop_ro("name", [](T& self) { return self.state->object().name(); })
      .def("__repr__",
           [name](T& self) {
             return "<strata." + std::string(name) + " " + self.state->describe() + ">";
           })
      .def_static("_from_handle",
                  [](const nb::bytes& handle, std::int64_t place) {
                    return T{mutex_of_handle(T::kType, handle, place)};
                  })
      .def("__reduce_ex__", [](nb::object self, int) {
        MutexState& state = *nb::cast<T&>(self).state;
        return reopened(self, state.object().handle(), state.place());
      });
  bind_async_acquire(type);
}

}  // namespace

void bind_locks(nb::module_& module) {
  bind<PyLock>(
      module, "Lock",
      "A lock between threads and processes that survives a killed holder.\n\n"
      "Lock() is one without a name, for processes that get it by fork or pickle; it is gone with\n"
      "the last of them. Lock(\"shm:name\") is the same one for all that name it, until\n"
      "strata.remove(). Lock(segment) is the one beside an array, in the header of its segment, "
      "the\n"
      "same for all that attach it with mode \"r+\". It is held by a thread of a process, which\n"
      "alone can release it: a child that is forked meanwhile does not hold it.");
  bind<PyRLock>(
      module, "RLock",
      "A Lock that the thread which holds it may take again; it is free once it is released as\n"
      "often. Tasks of asyncio exclude each other, also in one thread.");
}

}  // namespace strata::python
