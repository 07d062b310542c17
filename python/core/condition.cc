// strata.Condition.
#include "strata/sync/condition.h"

#include <nanobind/stl/string.h>

#include "python/core/async.h"
#include "python/core/hot_methods.h"
#include "python/core/lock.h"
#include "python/core/locks.h"
#include "python/core/shared_state.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

// Its own lock, which nobody uses where it was given another one, and where waiters sleep.
struct ConditionBytes {
  MutexSlot lock;       // 0
  Condition condition;  // 64
};
static_assert(offsetof(ConditionBytes, condition) == 64);

class PyCondition {
 public:
  static constexpr const char* kType = "strata.Condition";

  // `lock` is a Lock or an RLock, or None for its own, which is an RLock.
  PyCondition(SharedObject opened, nb::object lock)
      : object_(std::make_shared<SharedObject>(std::move(opened))), lock_(std::move(lock)) {
    const std::span<std::byte> bytes = object_->payload(sizeof(ConditionBytes));
    words_ = &reinterpret_cast<ConditionBytes*>(bytes.data())->condition;
    is_recursive_ = true;
    if (lock_.is_none()) {
      mutex_ = mutex_in(object_, kLocksOwn);
    } else if (nb::isinstance<PyLock>(lock_)) {
      mutex_ = nb::cast<PyLock&>(lock_).state;
      is_recursive_ = false;
    } else if (nb::isinstance<PyRLock>(lock_)) {
      mutex_ = nb::cast<PyRLock&>(lock_).state;
    } else {
      PyErr_Format(PyExc_TypeError, "Condition takes a strata.Lock or strata.RLock, not %s",
                   nb::inst_name(lock_).c_str());
      throw nb::python_error();
    }
  }
  static PyCondition* from_handle(const nb::bytes& handle, nb::object lock) {
    return new PyCondition(SharedObject::attach_handle(kType, handle), std::move(lock));
  }

  SharedObject& object() { return *object_; }
  const nb::object& lock() const { return lock_; }
  MutexState& mutex() { return *mutex_; }

  bool acquire(Timeout timeout) {
    return is_recursive_ ? mutex_->acquire_again(timeout) : mutex_->acquire(timeout);
  }
  bool try_acquire_alone() { return !mutex_->is_held_by_this_thread() && acquire(Timeout::now()); }
  void release() {
    if (is_recursive_) {
      mutex_->release_once();
    } else {
      mutex_->release();
    }
  }

  // Lets go of the lock, however often it was taken, to be woken from now on.
  struct Ticket {
    std::uint32_t wake;
    std::uint32_t depth;
  };
  Ticket begin_wait() {
    check_held("wait");
    const std::uint32_t wake = words_->ticket();
    return {wake, mutex_->suspend()};
  }
  bool has_woken(const Ticket& ticket) const { return words_->has_woken_since(ticket.wake); }
  bool try_resume(const Ticket& ticket) {
    if (!mutex_->acquire(Timeout::now())) return false;
    mutex_->set_depth(ticket.depth);
    return true;
  }

  // Errors: what a handler of a signal raised; the lock is held again also then.
  bool wait_once(Timeout timeout) {
    const Ticket ticket = begin_wait();
    bool is_notified = false;
    try {
      is_notified = sleep(ticket, timeout);
    } catch (...) {
      mutex_->resume(ticket.depth);
      throw;
    }
    mutex_->resume(ticket.depth);
    return is_notified;
  }

  nb::object wait_for(const nb::object& predicate, Timeout timeout) {
    const auto end = timeout.ns() ? std::optional(Deadline::after_ns(*timeout.ns())) : std::nullopt;
    nb::object found = predicate();
    while (!is_true(found)) {
      if (end && end->expired()) break;
      wait_once(end ? Timeout::after_ns(end->remaining_ns()) : Timeout::for_ever());
      found = predicate();
    }
    return found;
  }

  void notify(std::uint32_t count) {
    check_held("notify");
    // More sleepers than one call each are not worth the calls: waiters look for themselves.
    constexpr std::uint32_t kMostCalls = 64;
    if (count > kMostCalls) return words_->notify_all();
    for (; count > 0; --count)
      words_->notify_one();
  }
  void notify_all() {
    check_held("notify_all");
    words_->notify_all();
  }

 private:
  static bool is_true(const nb::object& value) {
    const int truth = PyObject_IsTrue(value.ptr());
    if (truth < 0) throw nb::python_error();
    return truth != 0;
  }
  bool sleep(const Ticket& ticket, Timeout timeout) {
    if (timeout.is_now()) return has_woken(ticket);
    const auto slept = wait(timeout, [&](Deadline end) -> Result<void> {
      if (words_->sleep(ticket.wake, end) == Wake::notified) return {};
      return fail(Code::timed_out, std::string());
    });
    return slept.has_value();
  }
  void check_held(const char* verb) {
    if (!mutex_->is_held_by_this_thread()) mutex_->not_held(verb);
  }

  std::shared_ptr<SharedObject> object_;
  nb::object lock_;
  std::shared_ptr<MutexState> mutex_;
  Condition* words_;
  bool is_recursive_;
};

std::uint32_t notify_count(nb::handle count) {
  const long long number = PyLong_AsLongLong(count.ptr());
  if (number == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
  if (number < 0) raise(Code::invalid_argument, "notify: fewer than 0 cannot be woken");
  return static_cast<std::uint32_t>(std::min<long long>(number, ~0u));
}

}  // namespace

void bind_condition(nb::module_& module) {
  using Ticket = PyCondition::Ticket;
  nb::class_<Ticket>(module, "_Ticket");
  nb::class_<PyCondition> type(
      module, "Condition", nb::type_slots(HotMethods<PyCondition>::slots()),
      nb::is_weak_referenceable(),
      "Waits until somebody has changed what a lock guards.\n\n"
      "    with changed:\n"
      "        changed.wait_for(lambda: items)\n\n"
      "lock is a Lock or an RLock; without one it has an RLock of its own. As with threading,\n"
      "wait() may return without a notification: look for yourself, or use wait_for().");
  type.def(
          "__init__",
          [](PyCondition* self, nb::object lock, nb::handle where, nb::handle permissions) {
            const std::string uri = where.is_none() ? "" : uri_of(where, PyCondition::kType);
            new (self) PyCondition(SharedObject::make(PyCondition::kType, uri,
                                                      sizeof(ConditionBytes), {}, permissions),
                                   std::move(lock));
          },
          "lock"_a = nb::none(), "where"_a = nb::none(), nb::kw_only(),
          "permissions"_a = nb::none(),
          nb::sig("def __init__(self, lock: Lock | RLock | None = None, where: str | None = None,"
                  " *, permissions: int | None = None) -> None"))
      .def(
          "wait",
          [](PyCondition& self, nb::handle timeout) {
            return self.wait_once(Timeout::from(timeout));
          },
          "timeout"_a = nb::none(), nb::sig("def wait(self, timeout: float | None = None) -> bool"),
          "Lets go of the lock, sleeps until notified, and takes it again. False where nobody\n"
          "notified within timeout seconds. Raises StateError where this thread does not hold it.")
      .def(
          "wait_for",
          [](PyCondition& self, const nb::object& predicate, nb::handle timeout) {
            return self.wait_for(predicate, Timeout::from(timeout));
          },
          "predicate"_a, "timeout"_a = nb::none(),
          nb::sig("def wait_for(self, predicate: collections.abc.Callable[[], typing.Any],"
                  " timeout: float | None = None) -> typing.Any"),
          "Waits until predicate() is true, and returns what it gave last.")
      .def(
          "notify", [](PyCondition& self, nb::handle n) { self.notify(notify_count(n)); },
          "n"_a = 1, nb::sig("def notify(self, n: int = 1) -> None"),
          "Wakes n waiters, and perhaps more. Raises StateError where this thread does not hold\n"
          "the lock.")
      .def("notify_all", &PyCondition::notify_all, "Wakes all waiters.")
      .def(
          "wait_async",
          [](nb::object self, nb::object timeout) {
            return call_async("condition_wait", self, timeout);
          },
          "timeout"_a = nb::none(),
          nb::sig("def wait_async(self, timeout: float | None = None)"
                  " -> collections.abc.Awaitable[bool]"),
          "await it: wait() without blocking the event loop. The lock is held again also when\n"
          "the task is cancelled.")
      .def(
          "wait_for_async",
          [](nb::object self, nb::object predicate, nb::object timeout) {
            return call_async("condition_wait_for", self, predicate, timeout);
          },
          "predicate"_a, "timeout"_a = nb::none(),
          nb::sig("def wait_for_async(self, predicate: collections.abc.Callable[[], typing.Any],"
                  " timeout: float | None = None) -> collections.abc.Awaitable[typing.Any]"),
          "await it: wait_for() without blocking the event loop.")
      .def("_begin_wait", &PyCondition::begin_wait)
      .def("_has_woken", &PyCondition::has_woken)
      .def("_try_resume", &PyCondition::try_resume)
      .def("_try_acquire", &PyCondition::try_acquire_alone)
      .def(
          "locked", [](PyCondition& self) { return self.mutex().is_locked(); },
          "Whether somebody holds its lock, this thread included.")
      .def_prop_ro(
          "recovered", [](PyCondition& self) { return self.mutex().is_recovered(); },
          "As of its lock.")
      .def(
          "repaired", [](PyCondition& self) { self.mutex().mark_repaired(); }, "As of its lock.")
      .def(
          "holder", [](PyCondition& self) { return self.mutex().holder(); },
          nb::sig("def holder(self) -> tuple[int, str] | None"), "As of its lock.")
      .def_prop_ro(
          "uri", [](PyCondition& self) { return self.object().uri(); },
          "The URI of its segment: whoever gives it to the class gets the same one.")
      .def_prop_ro("name", [](PyCondition& self) { return self.object().name(); })
      .def("__repr__",
           [](PyCondition& self) { return "<strata.Condition " + self.object().uri() + ">"; })
      .def_static("_from_handle", &PyCondition::from_handle, nb::rv_policy::take_ownership,
                  "handle"_a, "lock"_a.none())
      .def("__reduce_ex__", [](nb::object self, int) {
        auto& condition = nb::cast<PyCondition&>(self);
        return reopened(self, condition.object().handle(), condition.lock());
      });
  bind_async_acquire(type);
}

}  // namespace strata::python
