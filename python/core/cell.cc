// strata.Cell.
#include <nanobind/stl/string.h>

#include <optional>

#include "python/core/async.h"
#include "python/core/counters.h"
#include "python/core/held_buffer.h"
#include "python/core/shared_object.h"
#include "python/core/wait.h"
#include "strata/sync/latest_value.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

// Where the other threads of Python had better go on meanwhile.
constexpr std::size_t kLongBytes = 64 * 1024;

class PyCell {
 public:
  static constexpr std::string_view kType = "strata.Cell";

  explicit PyCell(SharedObject opened)
      : object_(std::move(opened)), words_(take(LatestValue::open(object_.payload()))) {}
  static PyCell* from_handle(const nb::bytes& handle) {
    return new PyCell(SharedObject::attach_handle(kType, handle));
  }

  SharedObject& object() { return object_; }
  std::uint64_t max_bytes() const { return words_.max_bytes(); }
  std::uint64_t version() const { return words_.version(); }

  std::uint64_t set(nb::handle value) {
    if (PyObject_CheckBuffer(value.ptr()) == 0) {
      PyErr_Format(PyExc_TypeError,
                   "set: bytes, or what has the buffer protocol, not %R: encode it",
                   Py_TYPE(value.ptr()));
      throw nb::python_error();
    }
    const HeldBuffer held(value);
    const std::span<const std::byte> bytes = held.bytes();
    if (bytes.size() > max_bytes()) {
      raise(Code::invalid_argument, "set: " + std::to_string(bytes.size()) + " bytes, and " +
                                        object_.uri() + " holds " + std::to_string(max_bytes()) +
                                        ": make it with a larger max_bytes");
    }
    const SyncContext& context = object_.context();
    if (bytes.size() < kLongBytes) {
      auto written = words_.write(context, bytes, Deadline::now());
      if (written || written.error().code() != Code::timed_out) return take(std::move(written));
    }
    return take(wait(Timeout::for_ever(),
                     [&](Deadline deadline) { return words_.write(context, bytes, deadline); }));
  }

  // Value and version, or None before the first.
  nb::object get(std::uint64_t& version) const {
    const auto room = static_cast<Py_ssize_t>(max_bytes());
    // Read into an object of full size, which is cut to what there was.
    PyObject* value = PyBytes_FromStringAndSize(nullptr, room);
    if (value == nullptr) throw nb::python_error();
    const std::span<std::byte> into(reinterpret_cast<std::byte*>(PyBytes_AsString(value)),
                                    max_bytes());
    const nb::object keeps = nb::steal(value);
    const auto read = [&](Deadline deadline) { return words_.read(into, deadline); };
    LatestValue::Got got = take(max_bytes() < kLongBytes ? read(Deadline::after_ms(1000))
                                                         : wait(Timeout::for_ever(), read));
    version = got.version;
    if (got.version == 0) return nb::none();
    if (got.bytes == max_bytes()) return keeps;
    return nb::steal(
        PyBytes_FromStringAndSize(PyBytes_AsString(value), static_cast<Py_ssize_t>(got.bytes)));
  }

  // None where there was no newer one in time.
  nb::object wait_for(std::uint64_t than, Timeout timeout) {
    auto newer = words_.wait(than, Deadline::now());
    if (!newer && !timeout.is_now()) {
      const std::uint32_t spins = object_.context().spins();
      newer = wait(timeout, [&](Deadline deadline) { return words_.wait(than, deadline, spins); });
    }
    if (!newer && newer.error().code() == Code::timed_out) return nb::none();
    take(std::move(newer));
    std::uint64_t version = 0;
    nb::object value = get(version);
    return nb::make_tuple(value, version);
  }

 private:
  SharedObject object_;
  LatestValue words_;
};

std::uint64_t older(const PyCell& self, nb::handle newer_than) {
  return newer_than.is_none() ? self.version() : nb::cast<std::uint64_t>(newer_than);
}

void construct(PyCell* self, nb::handle uri, nb::handle max_bytes, nb::handle permissions) {
  const std::int64_t asked = max_bytes.is_none() ? 4096 : nb::cast<std::int64_t>(max_bytes);
  if (asked < 1) {
    raise(Code::invalid_argument, "max_bytes: at least 1, not " + std::to_string(asked));
  }
  const auto bytes = static_cast<std::uint64_t>(asked);
  new (self) PyCell(SharedObject::make(
      PyCell::kType, uri.is_none() ? "" : uri_of(uri, PyCell::kType),
      take(latest_value_bytes(bytes)),
      [&](std::span<std::byte> payload) { return format_latest_value(payload, bytes); },
      permissions));
  if (max_bytes.is_none() || self->max_bytes() >= bytes) return;
  const std::string message = self->object().uri() + " is there already, for values of " +
                              std::to_string(self->max_bytes()) +
                              " bytes, which is less than was asked for: leave max_bytes away, or "
                              "remove it first";
  self->~PyCell();
  raise(Code::invalid_argument, message);
}

}  // namespace

void bind_cell(nb::module_& module) {
  bind_shared<PyCell>(
      module, "Cell",
      "Cell(uri=None, *, max_bytes=4096, permissions=None)\n\n"
      "The newest value of something, as bytes: any process sets it, any reads it. A value that\n"
      "nobody has read when the next one comes is gone; for all of them there is Queue.\n\n"
      "uri: \"shm:NAME\" is made, or attached to where it exists; without, it has no name, and is\n"
      "    gone with the last process that has it: hand it over by pickle.\n"
      "max_bytes: the longest value.\n"
      "permissions: of a new one, 0o600 by default.\n\n"
      "Values are whole: nobody sees a part of one, also where its writer is killed in the "
      "middle;\n"
      "then the value before it stays. Readers never wait for writers.")
      .def("__init__", &construct, "uri"_a = nb::none(), nb::kw_only(), "max_bytes"_a = nb::none(),
           "permissions"_a = nb::none(),
           nb::sig("def __init__(self, uri: str | None = None, *, max_bytes: int | None = None,"
                   " permissions: int | None = None) -> None"))
      .def("set", &PyCell::set, "value"_a.none(),
           nb::sig("def set(self, value: bytes | bytearray | memoryview) -> int"),
           "Makes it the value (bytes, or what has the buffer protocol); returns its version.\n"
           "Waits while another process is setting one. Raises ValueError for what is longer than\n"
           "max_bytes.")
      .def(
          "get",
          [](const PyCell& self) {
            std::uint64_t version = 0;
            return self.get(version);
          },
          nb::sig("def get(self) -> bytes | None"),
          "The newest value; None where there has been none.")
      .def(
          "read",
          [](const PyCell& self) {
            std::uint64_t version = 0;
            nb::object value = self.get(version);
            return nb::make_tuple(value, version);
          },
          nb::sig("def read(self) -> tuple[bytes | None, int]"),
          "The newest value with its version.")
      .def_prop_ro("version", &PyCell::version,
                   "Of the newest value: they are counted from 1; 0 where there has been none.")
      .def_prop_ro("max_bytes", &PyCell::max_bytes, "The longest value that it takes.")
      .def(
          "wait",
          [](PyCell& self, nb::handle newer_than, nb::handle timeout) {
            return self.wait_for(older(self, newer_than), Timeout::from(timeout));
          },
          "newer_than"_a = nb::none(), "timeout"_a = nb::none(),
          nb::sig("def wait(self, newer_than: int | None = None, timeout: float | None = None)"
                  " -> tuple[bytes, int] | None"),
          "Waits for a value of a version above newer_than (None: above that of now), and returns\n"
          "the newest with its version; None where there was none within timeout seconds.")
      .def(
          "wait_async",
          [](nb::object self, nb::object newer_than, nb::object timeout) {
            const std::uint64_t than = older(nb::cast<PyCell&>(self), newer_than);
            return nb::module_::import_("strata._async_cell").attr("wait")(self, than, timeout);
          },
          "newer_than"_a = nb::none(), "timeout"_a = nb::none(),
          nb::sig("def wait_async(self, newer_than: int | None = None,"
                  " timeout: float | None = None)"
                  " -> collections.abc.Awaitable[tuple[bytes, int] | None]"),
          "await it: wait() without blocking the event loop.")
      .def("__repr__", [](PyCell& self) {
        return "<strata.Cell " + self.object().uri() + " version " +
               std::to_string(self.version()) + ", of up to " + std::to_string(self.max_bytes()) +
               " bytes>";
      });
}

}  // namespace strata::python
