// strata.Counter and strata.ShardedCounter.
#include <nanobind/stl/string.h>

#include "python/core/counters.h"
#include "python/core/shared_object.h"
#include "strata/sync/sharded.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

// Alone on its cache line.
struct alignas(64) CounterBlock {
  SharedWord<std::int64_t> value;
};

class PyCounter {
 public:
  static constexpr std::string_view kType = "strata.Counter";

  explicit PyCounter(SharedObject opened)
      : object_(std::move(opened)),
        value_(
            reinterpret_cast<CounterBlock*>(object_.payload(sizeof(CounterBlock)).data())->value) {}
  static PyCounter* from_handle(const nb::bytes& handle) {
    return new PyCounter(SharedObject::attach_handle(kType, handle));
  }

  SharedObject& object() { return object_; }
  std::int64_t add(std::int64_t delta) {
    // As unsigned, since it wraps around.
    return static_cast<std::int64_t>(
        static_cast<std::uint64_t>(value_.fetch_add(delta, std::memory_order_acq_rel)) +
        static_cast<std::uint64_t>(delta));
  }
  std::int64_t value() const { return value_.load(std::memory_order_acquire); }
  void set(std::int64_t value) { value_.store(value, std::memory_order_release); }
  bool compare_exchange(std::int64_t expected, std::int64_t desired) {
    return value_.compare_exchange(expected, desired, std::memory_order_acq_rel);
  }

 private:
  SharedObject object_;
  SharedWord<std::int64_t>& value_;
};

class PyShardedCounter {
 public:
  using Words = ShardedCounter<16>;
  static constexpr std::string_view kType = "strata.ShardedCounter";
  static constexpr std::int64_t kShards = 16;

  explicit PyShardedCounter(SharedObject opened)
      : object_(std::move(opened)),
        words_(*reinterpret_cast<Words*>(object_.payload(sizeof(Words)).data())) {}
  static PyShardedCounter* from_handle(const nb::bytes& handle) {
    return new PyShardedCounter(SharedObject::attach_handle(kType, handle));
  }

  SharedObject& object() { return object_; }
  void add(std::int64_t delta) { words_.add(delta); }
  void add_to(std::int64_t shard, std::int64_t delta) {
    words_.add_to(static_cast<std::size_t>(shard), delta);
  }
  std::int64_t total() const { return words_.total(); }

 private:
  SharedObject object_;
  Words& words_;
};

// add() is bound by hand: by nanobind a call takes some 20 ns more, several times as long as the
// addition.
template <typename T>
class Adding {
 public:
  explicit Adding(const char* doc) {
    methods_[0] = {"add", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(&add)),
                   METH_FASTCALL, doc};
    slots_[0] = {Py_tp_methods, methods_};
  }
  PyType_Slot* slots() { return slots_; }

 private:
  static PyObject* add(PyObject* self, PyObject* const* args, Py_ssize_t count) noexcept {
    if (count > 1) {
      PyErr_Format(PyExc_TypeError, "add() takes at most 1 argument (%zd given)", count);
      return nullptr;
    }
    long long delta = 1;
    if (count == 1) {
      delta = PyLong_AsLongLong(args[0]);
      if (delta == -1 && PyErr_Occurred() != nullptr) return nullptr;
    }
    if (!nb::inst_ready(self)) [[unlikely]] {
      PyErr_SetString(PyExc_ValueError, "the counter's __init__() has not been called");
      return nullptr;
    }
    if constexpr (std::is_void_v<decltype(nb::inst_ptr<T>(self)->add(delta))>) {
      nb::inst_ptr<T>(self)->add(delta);
      return Py_NewRef(Py_None);
    } else {
      return PyLong_FromLongLong(nb::inst_ptr<T>(self)->add(delta));
    }
  }

  PyMethodDef methods_[2] = {};
  PyType_Slot slots_[2] = {};
};

std::string uri_or_none(nb::handle uri, std::string_view type) {
  return uri.is_none() ? "" : uri_of(uri, type);
}

void bind_counter(nb::module_& module) {
  static Adding<PyCounter> adding(
      "add($self, n=1, /)\n--\n\nAdds n and returns the new value, in one step. It wraps around at "
      "the ends of 64 bits;\nRaises OverflowError for an n that is beyond them.");
  bind_shared<PyCounter>(
      module, "Counter", nb::type_slots(adding.slots()),
      "Counter(uri=None, *, value=0, permissions=None)\n\n"
      "A signed number of 64 bits that processes and threads change in one step, without a lock:\n"
      "none of their additions is lost, and whoever is killed has added or has not.\n\n"
      "uri: \"shm:NAME\" is made, or attached to where it exists, and then keeps the value it "
      "has;\n"
      "    without, it has no name, and is gone with the last process that has it: hand it over "
      "by\n"
      "    pickle, as an argument of a Process for example.\n"
      "permissions: of a new one, 0o600 by default.")
      .def(
          "__init__",
          [](PyCounter* self, nb::handle uri, std::int64_t value, nb::handle permissions) {
            new (self) PyCounter(SharedObject::make(
                PyCounter::kType, uri_or_none(uri, PyCounter::kType), sizeof(CounterBlock),
                [&](std::span<std::byte> payload) -> Result<void> {
                  reinterpret_cast<CounterBlock*>(payload.data())
                      ->value.store(value, std::memory_order_relaxed);
                  return {};
                },
                permissions));
          },
          "uri"_a = nb::none(), nb::kw_only(), "value"_a = 0, "permissions"_a = nb::none(),
          nb::sig("def __init__(self, uri: str | None = None, *, value: int = 0,"
                  " permissions: int | None = None) -> None"))
      .def_prop_ro("value", &PyCounter::value, "What it is now.")
      .def("set", &PyCounter::set, "value"_a, "Makes it another number, whatever it was.")
      .def("compare_exchange", &PyCounter::compare_exchange, "expected"_a, "desired"_a,
           "Makes it `desired` if it is `expected`, in one step. Returns whether it was.")
      .def("__int__", &PyCounter::value)
      .def("__repr__", [](PyCounter& self) {
        return "<strata.Counter " + self.object().uri() + " " + std::to_string(self.value()) + ">";
      });
}

void bind_sharded_counter(nb::module_& module) {
  static Adding<PyShardedCounter> adding(
      "add($self, n=1, /)\n--\n\nAdds n to the shard of the CPU that this runs on.");
  bind_shared<PyShardedCounter>(
      module, "ShardedCounter", nb::type_slots(adding.slots()),
      "ShardedCounter(uri=None, *, permissions=None)\n\n"
      "A sum that many processes add to at once: 16 Counters on cache lines of their own, so that\n"
      "they do not wait for each other's. Adding is fast, and total() looks at all of them.\n\n"
      "uri, permissions: as of Counter.")
      .def(
          "__init__",
          [](PyShardedCounter* self, nb::handle uri, nb::handle permissions) {
            new (self) PyShardedCounter(SharedObject::make(
                PyShardedCounter::kType, uri_or_none(uri, PyShardedCounter::kType),
                sizeof(PyShardedCounter::Words), {}, permissions));
          },
          "uri"_a = nb::none(), nb::kw_only(), "permissions"_a = nb::none(),
          nb::sig("def __init__(self, uri: str | None = None, *, permissions: int | None = None)"
                  " -> None"))
      .def("add_to", &PyShardedCounter::add_to, "shard"_a, "n"_a = 1,
           "Adds n to a shard by its number (modulo 16): a worker's own index, for those who have\n"
           "one.")
      .def("total", &PyShardedCounter::total,
           "The sum of all that was added before the call, and perhaps of some that was added\n"
           "during it.")
      .def_prop_ro("value", &PyShardedCounter::total, "total(), as Counter has it.")
      .def_prop_ro_static(
          "shards", [](nb::handle) { return PyShardedCounter::kShards; },
          "How many shards there are.")
      .def("__repr__", [](PyShardedCounter& self) {
        return "<strata.ShardedCounter " + self.object().uri() + " " +
               std::to_string(self.total()) + ">";
      });
}

}  // namespace

void bind_counters(nb::module_& module) {
  bind_counter(module);
  bind_sharded_counter(module);
}

}  // namespace strata::python
