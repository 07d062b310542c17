// strata.Event.
#include "strata/sync/event.h"

#include <nanobind/stl/string.h>

#include "python/core/async.h"
#include "python/core/locks.h"
#include "python/core/shared_state.h"
#include "python/core/wait.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

class PyEvent {
 public:
  static constexpr const char* kType = "strata.Event";

  explicit PyEvent(SharedObject opened) : object_(std::move(opened)) {
    words_ = reinterpret_cast<Event*>(object_.payload(sizeof(Event)).data());
  }
  static PyEvent* from_handle(const nb::bytes& handle) {
    return new PyEvent(SharedObject::attach_handle(kType, handle));
  }

  SharedObject& object() { return object_; }
  bool is_set() { return words_->is_set(object_.context()); }
  void set() { words_->set(object_.context()); }
  void clear() { words_->reset(object_.context()); }
  bool wait_for(Timeout timeout) {
    const SyncContext& context = object_.context();
    if (words_->is_set(context)) return true;
    if (timeout.is_now()) {
      take(words_->check());
      return false;
    }
    return got(wait(timeout, [&](Deadline end) { return words_->wait(context, end); }), object_);
  }

 private:
  SharedObject object_;
  Event* words_;
};

}  // namespace

void bind_event(nb::module_& module) {
  bind_shared<PyEvent>(module, "Event",
                       "A flag that processes wait for: set() lets all of them go on, also those\n"
                       "that come later, until clear().")
      .def(
          "__init__",
          [](PyEvent* self, nb::handle where, nb::handle permissions) {
            const std::string uri = where.is_none() ? "" : uri_of(where, PyEvent::kType);
            new (self)
                PyEvent(SharedObject::make(PyEvent::kType, uri, sizeof(Event), {}, permissions));
          },
          "where"_a = nb::none(), nb::kw_only(), "permissions"_a = nb::none(),
          nb::sig("def __init__(self, where: str | None = None, *,"
                  " permissions: int | None = None) -> None"))
      .def("is_set", &PyEvent::is_set)
      .def("set", &PyEvent::set, "What was written before it is seen by those who go on.")
      .def("clear", &PyEvent::clear)
      .def(
          "wait",
          [](PyEvent& self, nb::handle timeout) { return self.wait_for(Timeout::from(timeout)); },
          "timeout"_a = nb::none(), nb::sig("def wait(self, timeout: float | None = None) -> bool"),
          "Waits until it is set; False where that was not within timeout seconds.")
      .def(
          "wait_async",
          [](nb::object self, nb::object timeout) {
            return call_async("event_wait", self, timeout);
          },
          "timeout"_a = nb::none(),
          nb::sig("def wait_async(self, timeout: float | None = None)"
                  " -> collections.abc.Awaitable[bool]"),
          "await it: the same without blocking the event loop.")
      .def("__repr__", [](PyEvent& self) {
        return "<strata.Event " + self.object().uri() + (self.is_set() ? " set>" : " not set>");
      });
}

}  // namespace strata::python
