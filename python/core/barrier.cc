// strata.Barrier.
#include <nanobind/stl/string.h>

#include <new>

#include "python/core/async.h"
#include "python/core/barrier_state.h"
#include "python/core/locks.h"
#include "python/core/shared_state.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

// threading.BrokenBarrierError, which is a RuntimeError, for what `work` throws.
template <typename Work>
auto translated(Work&& work) {
  try {
    return work();
  } catch (const BarrierState::Broken& broken) {
    const nb::object kind = nb::module_::import_("threading").attr("BrokenBarrierError");
    PyErr_SetString(kind.ptr(), broken.what());
    throw nb::python_error();
  }
}

class PyBarrier {
 public:
  PyBarrier(std::shared_ptr<BarrierState> state, nb::object action, nb::object timeout)
      : state_(std::move(state)), action_(std::move(action)), timeout_(std::move(timeout)) {}

  static PyBarrier* from_handle(const nb::bytes& handle, nb::object action, nb::object timeout) {
    return new PyBarrier(state_of_handle<BarrierState>(BarrierState::kType, handle),
                         std::move(action), std::move(timeout));
  }

  BarrierState& state() { return *state_; }
  const nb::object& action() const { return action_; }
  const nb::object& timeout() const { return timeout_; }
  void forget_action() { action_ = nb::none(); }

  BarrierState::Arrival arrive() {
    nb::module_::import_("strata._at_exit").attr("leave_barrier")(nb::cast(this));
    std::function<void()> action;
    if (!action_.is_none()) action = [this] { action_(); };
    return translated([&] { return state_->arrive(action); });
  }
  std::uint32_t wait_for_all(nb::handle timeout) {
    const Timeout within = Timeout::from(timeout.is_none() ? nb::handle(timeout_) : timeout);
    const BarrierState::Arrival arrival = arrive();
    translated([&] { state_->wait_for(arrival, within); });
    return arrival.index;
  }

 private:
  std::shared_ptr<BarrierState> state_;
  nb::object action_;
  nb::object timeout_;
};

// An action mostly leads back to its barrier, by the globals of its function.
int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  PyBarrier& barrier = *nb::inst_ptr<PyBarrier>(self);
  Py_VISIT(barrier.action().ptr());
  return 0;
}
int clear(PyObject* self) {
  if (nb::inst_ready(self)) nb::inst_ptr<PyBarrier>(self)->forget_action();
  return 0;
}

PyType_Slot barrier_slots[] = {
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {0, nullptr},
};

std::shared_ptr<BarrierState> open_barrier(std::uint32_t parties, nb::handle where,
                                           nb::handle permissions) {
  if (parties < 1 || parties > BarrierState::kMostParties) {
    raise(Code::invalid_argument, "a barrier of " + std::to_string(parties) +
                                      " parties: it is 1 to " +
                                      std::to_string(BarrierState::kMostParties));
  }
  const std::string uri = where.is_none() ? "" : uri_of(where, BarrierState::kType);
  auto state = state_of<BarrierState>(SharedObject::make(
      BarrierState::kType, uri, BarrierState::bytes_for(parties),
      [&](std::span<std::byte> bytes) -> Result<void> {
        (new (bytes.data()) BarrierBytes)->parties.store(parties, std::memory_order_relaxed);
        return {};
      },
      permissions));
  if (state->parties() != parties) {
    raise(Code::invalid_argument, state->object().uri() + " was made for " +
                                      std::to_string(state->parties()) + " parties, not " +
                                      std::to_string(parties));
  }
  return state;
}

}  // namespace

void bind_barrier(nb::module_& module) {
  using Arrival = BarrierState::Arrival;
  nb::class_<Arrival>(module, "_Arrival")
      .def_ro("index", &Arrival::index)
      .def_ro("is_last", &Arrival::is_last);
  nb::class_<PyBarrier>(
      module, "Barrier", nb::type_slots(barrier_slots), nb::is_weak_referenceable(),
      "Lets so many threads of any processes go on once all of them wait, turn after turn.\n\n"
      "Where one of them is killed, the others get threading.BrokenBarrierError instead of "
      "waiting\n"
      "for ever. action() is called by the last to arrive, before any goes on; timeout is that of\n"
      "wait() where it is given none.")
      .def(
          "__init__",
          [](PyBarrier* self, std::uint32_t parties, nb::object action, nb::object timeout,
             nb::handle where, nb::handle permissions) {
            if (!action.is_none() && PyCallable_Check(action.ptr()) == 0) {
              PyErr_SetString(PyExc_TypeError, "action has to be callable");
              throw nb::python_error();
            }
            Timeout::from(timeout);
            new (self) PyBarrier(open_barrier(parties, where, permissions), std::move(action),
                                 std::move(timeout));
          },
          "parties"_a, "action"_a = nb::none(), "timeout"_a = nb::none(), nb::kw_only(),
          "where"_a = nb::none(), "permissions"_a = nb::none(),
          nb::sig(
              "def __init__(self, parties: int, action: collections.abc.Callable[[], typing.Any]"
              " | None = None, timeout: float | None = None, *, where: str | None = None,"
              " permissions: int | None = None) -> None"))
      .def(
          "wait", [](PyBarrier& self, nb::handle timeout) { return self.wait_for_all(timeout); },
          "timeout"_a = nb::none(), nb::sig("def wait(self, timeout: float | None = None) -> int"),
          "Waits for the others. Returns how many had arrived before, 0 to parties - 1. Raises\n"
          "threading.BrokenBarrierError where that took more than timeout seconds, which breaks\n"
          "it for all, or it is broken or reset meanwhile. Ctrl-C leaves it as if never come.")
      .def(
          "wait_async",
          [](nb::object self, nb::object timeout) {
            return call_async("barrier_wait", self, timeout);
          },
          "timeout"_a = nb::none(),
          nb::sig("def wait_async(self, timeout: float | None = None)"
                  " -> collections.abc.Awaitable[int]"),
          "await it: wait() without blocking the event loop; who is cancelled has not arrived.")
      .def("_arrive", &PyBarrier::arrive)
      .def("_look",
           [](PyBarrier& self, const Arrival& arrival) {
             return translated([&] { return self.state().look(arrival); });
           })
      .def("_withdraw",
           [](PyBarrier& self, const Arrival& arrival) { self.state().withdraw(arrival); })
      .def("_time_out",
           [](PyBarrier& self, const Arrival& arrival) {
             translated([&] { self.state().time_out(arrival); });
           })
      .def("_leave", [](PyBarrier& self) { self.state().leave(); })
      .def_prop_ro("_timeout", &PyBarrier::timeout)
      .def(
          "abort", [](PyBarrier& self) { self.state().abort(); },
          "Breaks it: all who wait, and who come later, get BrokenBarrierError, until reset().")
      .def(
          "reset", [](PyBarrier& self) { self.state().reset(); },
          "Makes it as new. All who wait get BrokenBarrierError.")
      .def_prop_ro("parties", [](PyBarrier& self) { return self.state().parties(); })
      .def_prop_ro(
          "n_waiting", [](PyBarrier& self) { return self.state().waiting(); },
          "How many wait at this moment.")
      .def_prop_ro("broken", [](PyBarrier& self) { return self.state().is_broken(); })
      .def_prop_ro(
          "uri", [](PyBarrier& self) { return self.state().object().uri(); },
          "The URI of its segment: whoever gives it to the class gets the same one.")
      .def_prop_ro("name", [](PyBarrier& self) { return self.state().object().name(); })
      .def("__repr__",
           [](PyBarrier& self) { return "<strata.Barrier " + self.state().object().uri() + ">"; })
      .def_static("_from_handle", &PyBarrier::from_handle, nb::rv_policy::take_ownership,
                  "handle"_a, "action"_a.none(), "timeout"_a.none())
      .def("__reduce_ex__", [](nb::object self, int) {
        auto& barrier = nb::cast<PyBarrier&>(self);
        return reopened(self, barrier.state().object().handle(), barrier.action(),
                        barrier.timeout());
      });
}

}  // namespace strata::python
