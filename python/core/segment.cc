#include "python/core/segment.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <memory>

#include "python/core/catalog.h"
#include "python/core/held_buffer.h"
#include "python/core/shared_object.h"
#include "strata/base/bytes.h"
#include "strata/gpu/interop/cuda_array_interface.h"
#include "strata/gpu/interop/dlpack.h"
#include "strata/numa/placement_text.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

Deadline after(double seconds) {
  return Deadline::after_ms(seconds <= 0 ? 0 : static_cast<std::uint64_t>(seconds * 1000));
}

}  // namespace

PySegment::PySegment(Segment segment)
    : segment_(std::move(segment)),
      uri_(segment_->uri().to_string()),
      is_device_(segment_->identity().kind == static_cast<std::uint32_t>(SegmentKind::cuda)),
      content_(take(segment_->content())),
      element_(take(describe_element(is_array() ? content_.element : "|u1"))) {}

Segment& PySegment::open() {
  if (is_closed_)
    raise(Code::invalid_argument, uri_ + " is closed in this process: attach it again");
  return *segment_;
}

void PySegment::close() {
  is_closed_ = true;
  if (exports_ == 0) segment_.reset();
}

void PySegment::drop_export() {
  if (--exports_ == 0 && is_closed_) segment_.reset();
}

std::vector<std::uint64_t> PySegment::shape() const {
  const std::uint64_t payload = open().payload_bytes();
  if (!is_array()) return {payload};
  return payload == open().identity().created_payload_bytes ? content_.shape
                                                            : content_.with_payload(payload).shape;
}

interop::ArrayLayout PySegment::layout() const {
  interop::ArrayLayout layout{.element = take(exchanged_element(element_))};
  for (const std::uint64_t length : shape())
    layout.shape.push_back(static_cast<std::int64_t>(length));
  return layout;
}

bool PySegment::is_writable() const {
  const Segment& segment = open();
  return segment.access() != Access::read_only && segment.state() != SegmentState::sealed;
}

namespace {

// The buffer protocol.

struct ExportedShape {
  std::vector<Py_ssize_t> shape;
  std::vector<Py_ssize_t> strides;
};

int get_buffer(PyObject* self, Py_buffer* view, int flags) noexcept {
  view->obj = nullptr;
  try {
    PySegment& segment = *nb::inst_ptr<PySegment>(self);
    const bool is_writable = segment.is_writable();
    if ((flags & PyBUF_WRITABLE) != 0 && !is_writable) {
      PyErr_Format(PyExc_BufferError,
                   "%s cannot be written to: it was attached with mode \"r\", or is sealed",
                   segment.uri().c_str());
      return -1;
    }
    const std::span<const std::byte> bytes = take(segment.open().host_bytes());
    auto exported = std::make_unique<ExportedShape>();
    for (const std::uint64_t length : segment.shape())
      exported->shape.push_back(static_cast<Py_ssize_t>(length));
    auto stride = static_cast<Py_ssize_t>(segment.element().bytes);
    exported->strides.resize(exported->shape.size());
    Py_ssize_t elements = 1;
    for (std::size_t i = exported->shape.size(); i-- > 0;) {
      exported->strides[i] = stride;
      stride *= exported->shape[i];
      elements *= exported->shape[i];
    }
    view->buf = const_cast<std::byte*>(bytes.data());
    view->itemsize = static_cast<Py_ssize_t>(segment.element().bytes);
    view->len = elements * view->itemsize;
    view->readonly = is_writable ? 0 : 1;
    view->ndim = static_cast<int>(exported->shape.size());
    // Lives as long as the segment's wrapper, which the view holds.
    view->format =
        (flags & PyBUF_FORMAT) != 0 ? const_cast<char*>(segment.element().format.c_str()) : nullptr;
    if ((flags & PyBUF_ND) == PyBUF_ND) {
      view->shape = exported->shape.data();
    } else {
      view->shape = nullptr;
      view->ndim = 1;
    }
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? exported->strides.data() : nullptr;
    view->suboffsets = nullptr;
    view->internal = exported.release();
    segment.add_export();
    view->obj = Py_NewRef(self);
    return 0;
  } catch (nb::python_error& error) {
    error.restore();
    return -1;
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_BufferError, error.what());
    return -1;
  }
}

void release_buffer(PyObject* self, Py_buffer* view) noexcept {
  delete static_cast<ExportedShape*>(view->internal);
  nb::inst_ptr<PySegment>(self)->drop_export();
}

PyType_Slot slots[] = {
    {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
    {Py_bf_releasebuffer, reinterpret_cast<void*>(release_buffer)},
    {0, nullptr},
};

// DLPack: https://dmlc.github.io/dlpack/latest/python_spec.html

template <typename Tensor>
nb::object capsule(Tensor* tensor, const char* name) {
  const auto delete_unused = [](PyObject* capsule) {
    // A consumer renames what it has taken.
    const char* const now = PyCapsule_GetName(capsule);
    if (now == nullptr || std::string_view(now).starts_with("used_")) return;
    auto* const tensor = static_cast<Tensor*>(PyCapsule_GetPointer(capsule, now));
    if (tensor != nullptr && tensor->deleter != nullptr) tensor->deleter(tensor);
  };
  PyObject* const made = PyCapsule_New(tensor, name, delete_unused);
  if (made == nullptr) {
    tensor->deleter(tensor);
    throw nb::python_error();
  }
  return nb::steal(made);
}

nb::object to_dlpack(PySegment& self, nb::handle stream, nb::handle max_version,
                     nb::handle dl_device, nb::handle copy) {
  if (!copy.is_none() && nb::cast<bool>(copy)) {
    PyErr_SetString(PyExc_BufferError,
                    "copy=True: a segment is shared, never copied; copy the array");
    throw nb::python_error();
  }
  if (!dl_device.is_none() && !dl_device.equal(nb::cast(self).attr("__dlpack_device__")())) {
    PyErr_SetString(PyExc_BufferError, "dl_device: a segment is exported where it lies");
    throw nb::python_error();
  }
  Segment& segment = self.open();
  // What was written to the memory of a device is there before the consumer's stream begins.
  if (self.is_device() && !(nb::isinstance<nb::int_>(stream) && nb::cast<int>(stream) == -1)) {
    take_without_gil([&] { return segment.settle(); });
  }
  const bool is_versioned =
      !max_version.is_none() && nb::cast<int>(nb::borrow<nb::tuple>(max_version)[0]) >= 1;
  const interop::ArrayLayout layout = self.layout();
  if (is_versioned)
    return capsule(take(interop::export_dlpack(segment, layout)), "dltensor_versioned");
  if (!self.is_writable()) {
    PyErr_Format(PyExc_BufferError,
                 "%s cannot be written to, which a consumer of DLPack before 1.0 cannot be told, "
                 "and would crash on: attach it with mode \"c\"",
                 self.uri().c_str());
    throw nb::python_error();
  }
  return capsule(take(interop::export_dlpack_legacy(segment, layout)), "dltensor");
}

nb::tuple dlpack_device(PySegment& self) {
  const Segment& segment = self.open();
  if (!self.is_device()) return nb::make_tuple(static_cast<int>(dlpack::kCpu), 0);
  const interop::ArrayView view = take(interop::view_array(segment, self.layout()));
  return nb::make_tuple(static_cast<int>(dlpack::kCuda), view.device);
}

nb::dict cuda_interface(PySegment& self) {
  if (!self.is_device()) {
    // hasattr() says no, as for any array of the host.
    PyErr_Format(PyExc_AttributeError, "%s is host memory: use array()", self.uri().c_str());
    throw nb::python_error();
  }
  Segment& segment = self.open();
  take_without_gil([&] { return segment.settle(); });
  const interop::CudaArrayInterface array =
      take(interop::cuda_array_interface(segment, self.layout()));
  nb::dict dictionary;
  dictionary["shape"] = nb::tuple(nb::cast(array.shape));
  dictionary["typestr"] = array.typestr;
  dictionary["data"] = nb::make_tuple(array.address, array.is_read_only);
  dictionary["version"] = interop::CudaArrayInterface::kVersion;
  dictionary["strides"] = nb::none();
  dictionary["stream"] = nb::none();
  return dictionary;
}

nb::tuple shape_of(const PySegment& self) { return nb::tuple(nb::cast(self.shape())); }

// The bytes of a size as Python gives it: a number, "64M", or the shape that the array shall have.
std::uint64_t new_size(const PySegment& self, nb::handle size) {
  if (nb::isinstance<nb::str>(size)) return take(parse_bytes(nb::cast<std::string>(size)));
  if (nb::isinstance<nb::tuple>(size) || nb::isinstance<nb::list>(size)) {
    const auto shape = nb::cast<std::vector<std::uint64_t>>(size);
    const std::vector<std::uint64_t> now = self.shape();
    if (shape.size() != now.size() || shape.empty() ||
        !std::equal(shape.begin() + 1, shape.end(), now.begin() + 1))
      raise(Code::invalid_argument, "grow: an array grows along its first axis alone");
    return take(Content{.type = {}, .element = self.element().typestr, .shape = shape}.bytes());
  }
  return nb::cast<std::uint64_t>(size);
}

nb::bytes read_bytes(const PySegment& self, std::uint64_t offset,
                     std::optional<std::uint64_t> count) {
  const Segment& segment = self.open();
  const std::uint64_t payload = segment.payload_bytes();
  const std::uint64_t bytes = count.value_or(offset < payload ? payload - offset : 0);
  if (offset > payload || bytes > payload - offset)
    raise(Code::invalid_argument,
          "read: beyond the " + std::to_string(payload) + " bytes of " + self.uri());
  nb::bytes result =
      nb::steal<nb::bytes>(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(bytes)));
  if (!result.is_valid()) throw nb::python_error();
  auto* const into = reinterpret_cast<std::byte*>(PyBytes_AsString(result.ptr()));
  take_without_gil([&] { return segment.read(offset, {into, bytes}); });
  return result;
}

void write_bytes(PySegment& self, nb::handle from, std::uint64_t offset) {
  const HeldBuffer buffer(from);
  Segment& segment = self.open();
  take_without_gil([&] { return segment.write(offset, buffer.bytes()); });
}

nb::dict placement_of(const PlacementReport& report) {
  nb::dict nodes;
  for (const NodePages& pages : report.pages_on_node)
    nodes[nb::int_(pages.node)] = pages.pages * 4096;
  nb::dict placement;
  placement["bytes_on_node"] = nodes;
  placement["bytes_absent"] = report.pages_absent * 4096;
  placement["bytes_huge"] = report.huge_bytes;
  placement["notes"] = nb::cast(report.notes);
  return placement;
}

// None where nothing is known: of kinds without pages, and of those that nobody has placed.
nb::object placement_now(const PySegment& self) {
  const Result<PlacementReport> report = load_report(header_page_of(self.open()).placement);
  if (!report) return nb::none();
  return placement_of(*report);
}

std::string representation(const PySegment& self) {
  std::string text = "<strata.Segment " + self.uri();
  if (self.is_closed()) return text + " (closed)>";
  if (self.is_array()) {
    text += " " + self.element().typestr + " (";
    for (const std::uint64_t length : self.shape())
      text += std::to_string(length) + ", ";
    if (text.ends_with(", ")) text.resize(text.size() - 2);
    text += ")";
  }
  text += " " + format_bytes(self.open().payload_bytes()) + " \"" +
          std::string(mode_name(self.open().access())) + "\"";
  if (self.open().state() != SegmentState::ready)
    text += " " + std::string(state_name(self.open().state()));
  return text + ">";
}

nb::tuple reduce(nb::object self) {
  return nb::borrow<nb::tuple>(
      nb::module_::import_("strata._handles").attr("reduce_segment")(self));
}

nb::bytes handle_of_mapped(const PySegment& self) {
  const Segment* const segment = self.mapped();
  if (segment == nullptr) raise(Code::invalid_argument, self.uri() + " is closed in this process");
  return handle_of(*segment);
}

}  // namespace

void bind_segment(nb::module_& module) {
  nb::class_<PySegment>(module, "Segment", nb::type_slots(slots), nb::is_weak_referenceable(),
                        "A piece of memory with a name, attached to this process.\n\n"
                        "Made by create(), attach() and create_or_attach(). Views of it keep the\n"
                        "memory mapped, also after close(). May be pickled: the other process\n"
                        "attaches to the same bytes.\n\n"
                        ">>> with strata.create(\"shm:mesh\", (2, 3), \"float64\") as mesh:\n"
                        "...     mesh.view()[1, 2] = 2.5\n"
                        ">>> same = strata.attach(\"shm:mesh\", \"r\")\n"
                        ">>> same.shape, same.typestr, same.view()[1, 2]\n"
                        "((2, 3), '<f8', 2.5)\n"
                        ">>> same.close()\n"
                        ">>> strata.remove(\"shm:mesh\")")
      .def_prop_ro("uri", &PySegment::uri, "Its name, as \"shm:mesh\".")
      .def_prop_ro(
          "name", [](const PySegment& self) { return self.open().uri().name; },
          "The last part of its URI.")
      .def_prop_ro(
          "uuid", [](const PySegment& self) { return uuid_text(self.open().identity().uuid); },
          "Never given twice, also when a name is used again.")
      .def_prop_ro(
          "dtype",
          [](nb::object self) {
            return nb::module_::import_("strata._dtype")
                .attr("as_dtype")(nb::cast<PySegment&>(self).element().typestr);
          },
          nb::for_getter(nb::sig("def dtype(self, /) -> typing.Any")),
          "The type of its elements: numpy.dtype where NumPy is loaded, else its name (\"<f8\").")
      .def_prop_ro(
          "typestr", [](const PySegment& self) { return self.element().typestr; },
          "The type of its elements as NumPy spells it: \"<f8\"; \"|u1\" where it has none.")
      .def_prop_ro("shape", &shape_of,
                   nb::for_getter(nb::sig("def shape(self, /) -> tuple[int, ...]")),
                   "Elements along each axis; (bytes,) where it has no type.")
      .def_prop_ro("is_array", &PySegment::is_array, "Whether it was made with a dtype.")
      .def_prop_ro(
          "nbytes", [](const PySegment& self) { return self.open().payload_bytes(); },
          "Bytes of the payload now.")
      .def_prop_ro(
          "max_nbytes", [](const PySegment& self) { return self.open().max_bytes(); },
          "Bytes that it may grow to.")
      .def_prop_ro(
          "mode", [](const PySegment& self) { return mode_name(self.open().access()); },
          "\"r\", \"r+\" or \"c\", as of attach().")
      .def_prop_ro(
          "state", [](const PySegment& self) { return state_name(self.open().state()); },
          "\"initialising\", \"ready\", \"sealed\" or \"retired\".")
      .def_prop_ro(
          "sealed",
          [](const PySegment& self) { return self.open().state() == SegmentState::sealed; })
      .def_prop_ro("closed", &PySegment::is_closed)
      .def(
          "array",
          [](nb::object self) {
            return nb::module_::import_("strata._array").attr("view_of")(self);
          },
          nb::sig("def array(self) -> numpy.typing.NDArray[typing.Any]"),
          "The bytes as a numpy.ndarray, with no copy. It keeps the segment mapped, and when it "
          "(or a\n"
          "slice of it) is pickled the other process attaches.\n\nRaises BufferError for device "
          "memory.")
      .def(
          "view", [](nb::object self) { return nb::steal(PyMemoryView_FromObject(self.ptr())); },
          nb::sig("def view(self) -> memoryview"), "The bytes as a memoryview, with no copy.")
      .def("read", &read_bytes, "offset"_a = 0, "nbytes"_a = nb::none(),
           "A copy of bytes of the payload, of every kind of memory.")
      .def("write", &write_bytes, "data"_a, "offset"_a = 0,
           nb::sig("def write(self, data: typing_extensions.Buffer, offset: int = 0) -> None"),
           "Copies a C-contiguous buffer into the payload, `offset` bytes from its beginning.")
      .def(
          "publish",
          [](PySegment& self) { take_without_gil([&] { return self.open().publish(); }); },
          "Ends create(..., publish=False): others may attach, and see all that was written.")
      .def(
          "settle", [](PySegment& self) { take_without_gil([&] { return self.open().settle(); }); },
          "Returns once all that was written is seen by others, and is as durable as it gets.")
      .def(
          "seal",
          [](PySegment& self, double timeout) {
            take_without_gil([&] { return self.open().seal(after(timeout)); });
          },
          "timeout"_a = 10.0, "Hashes the content and makes it read-only for everybody and ever.")
      .def(
          "verify",
          [](const PySegment& self) { take_without_gil([&] { return self.open().verify(); }); },
          "Compares a sealed segment with its recorded hash. Raises CorruptError.")
      .def(
          "refresh",
          [](nb::object self) {
            auto& segment = nb::cast<PySegment&>(self);
            take_without_gil([&] { return segment.open().refresh(); });
            return segment.open().payload_bytes();
          },
          "Sees growth by others. Returns the bytes of the payload.")
      .def(
          "grow",
          [](PySegment& self, nb::handle size, double timeout) {
            const std::uint64_t bytes = new_size(self, size);
            take_without_gil([&] { return self.open().grow(bytes, after(timeout)); });
          },
          "size"_a, "timeout"_a = 10.0,
          nb::sig("def grow(self, size: int | str | collections.abc.Sequence[int], "
                  "timeout: float = 10.0) -> None"),
          "Grows to so many bytes (a number or \"64M\"), or to a shape with a longer first axis.\n"
          "Views that exist keep their size.")
      .def(
          "migrate",
          [](PySegment& self, std::string_view placement, double timeout) {
            const Placement to = take(parse_placement(placement));
            return placement_of(
                take_without_gil([&] { return self.open().migrate(to, after(timeout)); }));
          },
          "placement"_a, "timeout"_a = 10.0,
          nb::sig("def migrate(self, placement: str, timeout: float = 10.0) -> "
                  "dict[str, typing.Any]"),
          "Moves the pages (\"node:1\", \"interleave:0,1\") while processes stay attached.")
      .def(
          "persist",
          [](PySegment& self, std::uint64_t offset, std::optional<std::uint64_t> count) {
            Segment& segment = self.open();
            const std::uint64_t bytes =
                count.value_or(segment.payload_bytes() - std::min(offset, segment.payload_bytes()));
            take_without_gil([&] { return segment.persist(offset, bytes); });
          },
          "offset"_a = 0, "nbytes"_a = nb::none(),
          "Makes bytes durable, where memory is persistent.")
      .def_prop_ro("placement", &placement_now,
                   "Where its pages were when it was last made, grown or moved: a dict of\n"
                   "bytes_on_node {node: bytes}, bytes_absent, bytes_huge and notes; or None.")
      .def(
          "close", &PySegment::close,
          "Detaches, once the last view is gone. That removes nothing unless its lifetime says so.")
      .def("_handle", &handle_of_mapped, "The bytes that let another process attach.")
      .def(
          "__enter__", [](nb::object self) { return self; },
          nb::sig("def __enter__(self) -> typing.Self"))
      .def(
          "__exit__", [](PySegment& self, nb::args) { self.close(); },
          nb::sig("def __exit__(self, *args: object) -> None"))
      .def("__len__",
           [](const PySegment& self) {
             const std::vector<std::uint64_t> shape = self.shape();
             if (shape.empty()) {
               PyErr_SetString(PyExc_TypeError, "len() of an array without dimensions");
               throw nb::python_error();
             }
             return shape[0];
           })
      .def("__repr__", &representation)
      .def("_repr_html_",
           [](nb::object self) {
             return nb::module_::import_("strata._notebook").attr("segment_html")(self);
           })
      .def("__reduce_ex__", [](nb::object self, int) { return reduce(std::move(self)); })
      .def("__dlpack__", &to_dlpack, nb::kw_only(), "stream"_a = nb::none(),
           "max_version"_a = nb::none(), "dl_device"_a = nb::none(), "copy"_a = nb::none(),
           "The DLPack capsule, with no copy. What cannot be written to is for consumers of DLPack "
           "1.0\n"
           "and later alone, and PyTorch writes to it all the same: give it mode \"c\".")
      .def("__dlpack_device__", &dlpack_device,
           nb::sig("def __dlpack_device__(self) -> tuple[int, int]"))
      .def_prop_ro("__cuda_array_interface__", &cuda_interface,
                   "Of cuda: segments, for CuPy, Numba, PyTorch and RMM.");
}

}  // namespace strata::python
