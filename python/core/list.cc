#include "python/core/list.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include <array>
#include <bit>
#include <cstring>

#include "python/core/catalog.h"
#include "python/core/held_buffer.h"
#include "python/core/process_wide.h"
#include "python/core/shared_object.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

constexpr std::array kKinds = {ListKind::int64, ListKind::float64, ListKind::bytes, ListKind::utf8,
                               ListKind::bits};

ListKind stored_kind(std::span<const std::byte> bytes) {
  ListHead head;
  if (bytes.size() < sizeof head) raise(Code::corrupt, "list: shorter than its head");
  std::memcpy(&head, bytes.data(), sizeof head);
  return static_cast<ListKind>(head.kind);
}

// Whether two objects are equal; throws what their comparison raised.
bool is_equal(PyObject* left, PyObject* right) {
  const int equal = PyObject_RichCompareBool(left, right, Py_EQ);
  if (equal < 0) throw nb::python_error();
  return equal != 0;
}

}  // namespace

std::string_view kind_name(ListKind kind) {
  switch (kind) {
    case ListKind::int64: return "int";
    case ListKind::float64: return "float";
    case ListKind::bytes: return "bytes";
    case ListKind::utf8: return "str";
    case ListKind::bits: return "bits";
  }
  return "unknown";
}

Frozen::Frozen(Segment from) : segment(std::move(from)) {
  check_type(segment, kListType);
  if (segment.state() != SegmentState::sealed) {
    raise(Code::failed_precondition,
          segment.uri().to_string() + " is a list that is not sealed: whoever made it was stopped");
  }
  const std::span<const std::byte> bytes = take(segment.host_bytes());
  kind = stored_kind(bytes);
  switch (kind) {
    case ListKind::int64: {
      const auto list = take(Int64List::open(bytes));
      ints = list.values().data();
      count = list.size();
      break;
    }
    case ListKind::float64: {
      const auto list = take(Float64List::open(bytes));
      floats = list.values().data();
      count = list.size();
      break;
    }
    case ListKind::bytes: count = strings.emplace(take(BytesList::open(bytes))).size(); break;
    case ListKind::utf8: count = strings.emplace(take(StringList::open(bytes))).size(); break;
    case ListKind::bits: count = bits.emplace(take(BitList::open(bytes))).size(); break;
    default:
      raise(Code::unsupported, segment.uri().to_string() + " is a list of kind " +
                                   std::to_string(static_cast<std::uint32_t>(kind)) +
                                   ", of a later version");
  }
}

PyObject* PyList::item(std::uint64_t index) const {
  const std::uint64_t at = place(index);
  switch (frozen_->kind) {
    case ListKind::int64: return PyLong_FromLongLong(frozen_->ints[at]);
    case ListKind::float64: return PyFloat_FromDouble(frozen_->floats[at]);
    case ListKind::bits: return Py_NewRef((*frozen_->bits)[at] ? Py_True : Py_False);
    case ListKind::bytes: {
      const std::string_view bytes = (*frozen_->strings)[at];
      return PyBytes_FromStringAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size()));
    }
    case ListKind::utf8: {
      const std::string_view text = (*frozen_->strings)[at];
      return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr);
    }
  }
  return nullptr;
}

PyList PyList::slice(std::uint64_t start, std::int64_t step, std::uint64_t count) const {
  if (count == 0) return {frozen_, 0, 1, 0};
  // A slice of one item has any step: it is taken for the one without gaps.
  return {frozen_, place(start), count == 1 ? 1 : step_ * step, count};
}

template <typename Equal>
std::uint64_t PyList::scan(std::uint64_t begin, std::uint64_t end, Equal&& equal) const {
  std::uint64_t at = begin;
  while (at < end && !equal(place(at)))
    ++at;
  return at;
}

// Calls scan(equal) with what tells whether the item at a place is equal to `value`: natively where
// Python's own == would say the same of the two types, and else by that.
template <typename Scan>
std::uint64_t PyList::scan_for(nb::handle value, Scan&& scan) const {
  PyObject* const object = value.ptr();
  const Frozen& list = *frozen_;
  const auto never = [](std::uint64_t) { return false; };
  const bool is_int = PyLong_CheckExact(object) || PyBool_Check(object);
  const bool is_float = PyFloat_CheckExact(object);
  if ((is_int || is_float) && list.strings) return scan(never);
  if (is_int) {
    int overflow = 0;
    const std::int64_t number = PyLong_AsLongLongAndOverflow(object, &overflow);
    constexpr std::int64_t kExact = std::int64_t{1} << 53;
    if (list.ints != nullptr && overflow != 0) return scan(never);
    if (list.ints != nullptr)
      return scan([ints = list.ints, number](std::uint64_t at) { return ints[at] == number; });
    if (list.bits) {
      if (overflow != 0 || (number != 0 && number != 1)) return scan(never);
      return scan([&list, number](std::uint64_t at) { return (*list.bits)[at] == (number == 1); });
    }
    if (overflow == 0 && number >= -kExact && number <= kExact) {
      return scan([floats = list.floats, number = static_cast<double>(number)](std::uint64_t at) {
        return floats[at] == number;
      });
    }
  } else if (is_float && list.floats != nullptr) {
    return scan([floats = list.floats, number = PyFloat_AsDouble(object)](std::uint64_t at) {
      return floats[at] == number;
    });
  } else if (list.kind == ListKind::bytes && PyBytes_CheckExact(object)) {
    const std::string_view bytes(PyBytes_AsString(object),
                                 static_cast<std::size_t>(PyBytes_Size(object)));
    return scan([&list, bytes](std::uint64_t at) { return (*list.strings)[at] == bytes; });
  } else if (list.kind == ListKind::utf8 && PyUnicode_CheckExact(object)) {
    Py_ssize_t size = 0;
    const char* const text = PyUnicode_AsUTF8AndSize(object, &size);
    if (text == nullptr) {
      PyErr_Clear();  // half a character: no list has it
      return scan(never);
    }
    const std::string_view sought(text, static_cast<std::size_t>(size));
    return scan([&list, sought](std::uint64_t at) { return (*list.strings)[at] == sought; });
  }
  const PyList whole(frozen_);
  return scan([&whole, object](std::uint64_t at) {
    const nb::object item = nb::steal(whole.item(at));
    if (!item.is_valid()) throw nb::python_error();
    return is_equal(item.ptr(), object);
  });
}

std::uint64_t PyList::find(nb::handle value, std::uint64_t begin, std::uint64_t end) const {
  return scan_for(value, [&](auto&& equal) { return scan(begin, end, equal); });
}

std::uint64_t PyList::count_of(nb::handle value) const {
  if (frozen_->bits && PyBool_Check(value.ptr()) && count_ == frozen_->count) {
    const std::uint64_t set = frozen_->bits->count_set();
    return value.ptr() == Py_True ? set : count_ - set;
  }
  return scan_for(value, [&](auto&& equal) {
    std::uint64_t found = 0;
    for (std::uint64_t i = 0; i < count_; ++i)
      found += equal(place(i)) ? 1 : 0;
    return found;
  });
}

bool PyList::equals_natively(const PyList& other) const {
  const Frozen& mine = *frozen_;
  const Frozen& theirs = *other.frozen_;
  if (mine.ints != nullptr && step_ == 1 && other.step_ == 1) {
    return count_ == 0 ||
           std::memcmp(mine.ints + start_, theirs.ints + other.start_, count_ * 8) == 0;
  }
  const auto all = [&](auto&& equal) {
    for (std::uint64_t i = 0; i < count_; ++i)
      if (!equal(place(i), other.place(i))) return false;
    return true;
  };
  if (mine.ints != nullptr)
    return all([&](auto at, auto there) { return mine.ints[at] == theirs.ints[there]; });
  if (mine.floats != nullptr)
    return all([&](auto at, auto there) { return mine.floats[at] == theirs.floats[there]; });
  if (mine.bits)
    return all([&](auto at, auto there) { return (*mine.bits)[at] == (*theirs.bits)[there]; });
  return all([&](auto at, auto there) { return (*mine.strings)[at] == (*theirs.strings)[there]; });
}

bool PyList::equals(const PyList& other) const {
  if (count_ != other.count_) return false;
  if (kind() == other.kind()) return equals_natively(other);
  for (std::uint64_t i = 0; i < count_; ++i) {
    const nb::object mine = nb::steal(item(i)), theirs = nb::steal(other.item(i));
    if (!mine.is_valid() || !theirs.is_valid()) throw nb::python_error();
    if (!is_equal(mine.ptr(), theirs.ptr())) return false;
  }
  return true;
}

bool PyList::equals(nb::handle sequence) const {
  for (std::uint64_t i = 0;; ++i) {
    // Asked for each time: a list may change while its items are compared.
    const bool is_list = PyList_Check(sequence.ptr());
    const Py_ssize_t length = is_list ? PyList_Size(sequence.ptr()) : PyTuple_Size(sequence.ptr());
    if (static_cast<std::uint64_t>(length) != count_) return false;
    if (i == count_) return true;
    const auto index = static_cast<Py_ssize_t>(i);
    const nb::object other = nb::borrow(is_list ? PyList_GetItem(sequence.ptr(), index)
                                                : PyTuple_GetItem(sequence.ptr(), index));
    if (scan_for(other, [&](auto&& equal) { return std::uint64_t{equal(place(i))}; }) == 0)
      return false;
  }
}

namespace {

// What the interpreter calls itself, by hand: an item costs some ns, and a call of nanobind's more.

// Errors: null with an exception, for what __new__ alone made.
const PyList* list_of(PyObject* self) {
  if (nb::inst_ready(self)) [[likely]]
    return nb::inst_ptr<PyList>(self);
  PyErr_SetString(PyExc_ValueError, "strata.List.__init__() has not been called");
  return nullptr;
}

template <typename T, typename Work>
T guarded(T failed, Work&& work) noexcept {
  try {
    return work();
  } catch (nb::python_error& error) {
    error.restore();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return failed;
}

Py_ssize_t length(PyObject* self) noexcept {
  const PyList* const list = list_of(self);
  return list == nullptr ? -1 : static_cast<Py_ssize_t>(list->size());
}

PyObject* item(PyObject* self, Py_ssize_t index) noexcept {
  const PyList* const list = list_of(self);
  if (list == nullptr) return nullptr;
  if (index < 0 || static_cast<std::uint64_t>(index) >= list->size()) {
    PyErr_SetString(PyExc_IndexError, "list index out of range");
    return nullptr;
  }
  return list->item(static_cast<std::uint64_t>(index));
}

PyObject* wrapped(PyList list) {
  return nb::cast(new PyList(std::move(list)), nb::rv_policy::take_ownership).release().ptr();
}

PyObject* subscript(PyObject* self, PyObject* key) noexcept {
  const PyList* const list = list_of(self);
  if (list == nullptr) return nullptr;
  const auto count = static_cast<Py_ssize_t>(list->size());
  if (PyIndex_Check(key)) {
    const Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (index == -1 && PyErr_Occurred() != nullptr) return nullptr;
    return item(self, index < 0 ? index + count : index);
  }
  if (!PySlice_Check(key)) {
    PyErr_Format(PyExc_TypeError, "list indices must be integers or slices, not %R", Py_TYPE(key));
    return nullptr;
  }
  Py_ssize_t start = 0, stop = 0, step = 0;
  if (PySlice_Unpack(key, &start, &stop, &step) < 0) return nullptr;
  const Py_ssize_t length = PySlice_AdjustIndices(count, &start, &stop, step);
  return guarded<PyObject*>(nullptr, [&] {
    return wrapped(
        list->slice(static_cast<std::uint64_t>(start), step, static_cast<std::uint64_t>(length)));
  });
}

int contains(PyObject* self, PyObject* value) noexcept {
  const PyList* const list = list_of(self);
  if (list == nullptr) return -1;
  return guarded(-1, [&] { return list->find(value, 0, list->size()) < list->size() ? 1 : 0; });
}

PyObject* compare(PyObject* self, PyObject* other, int operation) noexcept {
  const PyList* const list = list_of(self);
  if (list == nullptr) return nullptr;
  if (operation != Py_EQ && operation != Py_NE) return Py_NewRef(Py_NotImplemented);
  return guarded<PyObject*>(nullptr, [&]() -> PyObject* {
    bool is_equal = false;
    if (nb::isinstance<PyList>(other) && nb::inst_ready(other)) {
      is_equal = list->equals(*nb::inst_ptr<PyList>(other));
    } else if (PyList_Check(other) || PyTuple_Check(other)) {
      is_equal = list->equals(nb::handle(other));
    } else {
      return Py_NewRef(Py_NotImplemented);
    }
    return Py_NewRef(is_equal == (operation == Py_EQ) ? Py_True : Py_False);
  });
}

struct Iterator {
  nb::object keeps;
  const PyList* list;
  std::uint64_t next = 0;
};

PyObject* iterate(PyObject* self) noexcept {
  const PyList* const list = list_of(self);
  if (list == nullptr) return nullptr;
  return guarded<PyObject*>(nullptr, [&] {
    auto* const iterator = new Iterator{nb::borrow(self), list};
    return nb::cast(iterator, nb::rv_policy::take_ownership).release().ptr();
  });
}

PyObject* next_item(PyObject* self) noexcept {
  if (!nb::inst_ready(self)) return nullptr;
  Iterator& iterator = *nb::inst_ptr<Iterator>(self);
  if (iterator.next >= iterator.list->size()) return nullptr;
  return iterator.list->item(iterator.next++);
}

PyObject* itself(PyObject* self) noexcept { return Py_NewRef(self); }

int get_buffer(PyObject* self, Py_buffer* view, int flags) noexcept {
  view->obj = nullptr;
  const PyList* const list = list_of(self);
  if (list == nullptr) return -1;
  const Frozen& frozen = list->frozen();
  const bool is_gapless = list->step() == 1;
  const char* problem = nullptr;
  if (frozen.ints == nullptr && frozen.floats == nullptr)
    problem = "lists of numbers alone can be looked at as a buffer";
  if ((flags & PyBUF_WRITABLE) != 0) problem = "a frozen list cannot be written to";
  const bool has_strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES;
  const int contiguous =
      flags & (PyBUF_C_CONTIGUOUS | PyBUF_F_CONTIGUOUS | PyBUF_ANY_CONTIGUOUS) & ~PyBUF_STRIDES;
  if (!is_gapless && (!has_strides || contiguous != 0))
    problem = "a slice with a step is not contiguous: copy it";
  if (problem != nullptr) {
    PyErr_SetString(PyExc_BufferError, problem);
    return -1;
  }
  auto* const extent = static_cast<Py_ssize_t*>(PyMem_Malloc(2 * sizeof(Py_ssize_t)));
  if (extent == nullptr) {
    PyErr_NoMemory();
    return -1;
  }
  extent[0] = static_cast<Py_ssize_t>(list->size());
  extent[1] = static_cast<Py_ssize_t>(list->step()) * 8;
  const void* const first = frozen.ints != nullptr
                                ? static_cast<const void*>(frozen.ints + list->start())
                                : static_cast<const void*>(frozen.floats + list->start());
  view->buf = const_cast<void*>(first);
  view->len = extent[0] * 8;
  view->itemsize = 8;
  view->readonly = 1;
  view->ndim = 1;
  static char ints[] = "q";
  static char floats[] = "d";
  view->format = (flags & PyBUF_FORMAT) == 0 ? nullptr : frozen.ints != nullptr ? ints : floats;
  view->shape = (flags & PyBUF_ND) != 0 ? extent : nullptr;
  view->strides = has_strides ? extent + 1 : nullptr;
  view->suboffsets = nullptr;
  view->internal = extent;
  view->obj = Py_NewRef(self);
  return 0;
}

void release_buffer(PyObject*, Py_buffer* view) noexcept { PyMem_Free(view->internal); }

template <typename Function>
void* slot(Function* function) {
  return reinterpret_cast<void*>(function);
}

PyType_Slot list_slots[] = {
    {Py_sq_length, slot(&length)},
    {Py_sq_item, slot(&item)},
    {Py_sq_contains, slot(&contains)},
    {Py_mp_length, slot(&length)},
    {Py_mp_subscript, slot(&subscript)},
    {Py_tp_iter, slot(&iterate)},
    {Py_tp_richcompare, slot(&compare)},
    {Py_bf_getbuffer, slot(&get_buffer)},
    {Py_bf_releasebuffer, slot(&release_buffer)},
    {0, nullptr},
};

PyType_Slot iterator_slots[] = {
    {Py_tp_iter, slot(&itself)},
    {Py_tp_iternext, slot(&next_item)},
    {0, nullptr},
};

std::optional<ListKind> parse_kind(nb::handle kind) {
  if (kind.is_none()) return std::nullopt;
  const auto is = [&](PyTypeObject& type) {
    return kind.ptr() == reinterpret_cast<PyObject*>(&type);
  };
  if (is(PyLong_Type)) return ListKind::int64;
  if (is(PyFloat_Type)) return ListKind::float64;
  if (is(PyBytes_Type)) return ListKind::bytes;
  if (is(PyUnicode_Type)) return ListKind::utf8;
  if (is(PyBool_Type)) return ListKind::bits;
  for (const ListKind one : kKinds)
    if (nb::isinstance<nb::str>(kind) && nb::cast<std::string>(kind) == kind_name(one)) return one;
  PyErr_Format(PyExc_ValueError, "kind: \"int\", \"float\", \"bytes\", \"str\" or \"bits\", not %R",
               kind.ptr());
  throw nb::python_error();
}

// One attachment in a process, of however many slices of a list it is sent.
std::shared_ptr<const Frozen> attached(const nb::bytes& bytes) {
  using All = ProcessWide<const Frozen>;
  const Handle handle = take(decode(std::as_bytes(std::span(bytes.c_str(), bytes.size()))));
  const All::Key key = {handle.uuid, 0};
  if (auto there = All::find(key)) return there;
  return All::keep(key, std::make_shared<const Frozen>(attach_by_handle(bytes, "r", 1.0)));
}

PyList from_handle(const nb::bytes& handle, std::uint64_t start, std::int64_t step,
                   std::uint64_t count) {
  std::shared_ptr<const Frozen> frozen = attached(handle);
  const std::uint64_t total = frozen->count;
  const std::uint64_t stride =
      step < 0 ? 0 - static_cast<std::uint64_t>(step) : static_cast<std::uint64_t>(step);
  // The last item is as far from the first as the list reaches in that direction, at most.
  const bool fits = count == 0 || (start < total && step != 0 &&
                                   (count - 1) <= (step < 0 ? start : total - 1 - start) / stride);
  if (!fits)
    raise(Code::invalid_argument,
          "a slice that leaves its list of " + std::to_string(total) + " items");
  return {std::move(frozen), count == 0 ? 0 : start, count == 0 ? 1 : step, count};
}

std::uint64_t index_of(const PyList& self, nb::handle value, Py_ssize_t start,
                       std::optional<Py_ssize_t> stop) {
  const auto count = static_cast<Py_ssize_t>(self.size());
  const auto clamped = [count](Py_ssize_t at) {
    return static_cast<std::uint64_t>(std::clamp<Py_ssize_t>(at < 0 ? at + count : at, 0, count));
  };
  const std::uint64_t end = clamped(stop.value_or(count));
  const std::uint64_t found = self.find(value, clamped(start), end);
  if (found < end) return found;
  PyErr_Format(PyExc_ValueError, "%R is not in the list", value.ptr());
  throw nb::python_error();
}

std::uint64_t bytes_of(const PyList& self) {
  const Frozen& list = self.frozen();
  if (!list.strings) return list.bits ? (self.size() + 7) / 8 : self.size() * 8;
  std::uint64_t bytes = 0;
  for (std::uint64_t i = 0; i < self.size(); ++i)
    bytes += (*list.strings)[self.place(i)].size();
  return bytes;
}

// One byte for each bit.
void unpack_into(const PyList& self, nb::handle to) {
  const HeldBuffer buffer(to, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE);
  if (!self.frozen().bits || buffer.bytes().size() != self.size())
    raise(Code::invalid_argument, "unpack: bits alone, into as many bytes");
  auto* const bytes = static_cast<std::uint8_t*>(buffer.view().buf);
  for (std::uint64_t i = 0; i < self.size(); ++i)
    bytes[i] = (*self.frozen().bits)[self.place(i)] ? 1 : 0;
}

std::string representation(const PyList& self) {
  std::string kind(kind_name(self.kind()));
  return "<strata.List of " + std::to_string(self.size()) + " " + kind +
         (self.size() == self.frozen().count ? " " : " of ") +
         self.frozen().segment.uri().to_string() + ">";
}

}  // namespace

void bind_list(nb::module_& module) {
  nb::class_<Iterator>(module, "ListIterator", nb::type_slots(iterator_slots));
  nb::class_<PyList> list(
      module, "List", nb::type_slots(list_slots), nb::is_weak_referenceable(),
      "List(uri, timeout=1.0)\n\n"
      "An immutable list in shared memory, made by freeze(): of int, float, bytes, str, or of "
      "bits\n"
      "(bools). A collections.abc.Sequence. An item is made into an object of Python when it is\n"
      "asked for, so that reading writes nothing: the memory stays shared, whoever reads.\n\n"
      "Slices are views, whatever their step. A pickle of it is a handle of some 300 bytes, by\n"
      "which another process attaches. Lists of numbers have the buffer protocol.\n\n"
      "uri: of a list that was frozen with a name. Raises NotFoundError; ValueError where the "
      "name\n"
      "is of something else; CorruptError.");
  list.def(
          "__init__",
          [](PyList* self, const std::string& uri, double timeout) {
            new (self) PyList(std::make_shared<const Frozen>(
                attach_by_uri(uri, {.access = Access::read_only}, timeout)));
          },
          "uri"_a, "timeout"_a = 1.0)
      .def_prop_ro(
          "uri", [](const PyList& self) { return self.frozen().segment.uri().to_string(); },
          "The URI of its segment.")
      .def_prop_ro(
          "name", [](const PyList& self) { return self.frozen().segment.uri().name; },
          "The last part of its URI.")
      .def_prop_ro(
          "kind", [](const PyList& self) { return kind_name(self.kind()); },
          "\"int\", \"float\", \"bytes\", \"str\" or \"bits\".")
      .def_prop_ro(
          "nbytes", &bytes_of,
          "Bytes of its items: 8 for a number, the length of a bytes or of the UTF-8 of a\n"
          "str, an eighth of one for a bit.")
      .def("index", &index_of, "value"_a.none(), "start"_a = 0, "stop"_a = nb::none(),
           "Where the first item is that is equal to it. Raises ValueError where none is.")
      .def("count", &PyList::count_of, "value"_a.none(), "How many items are equal to it.")
      .def(
          "array",
          [](nb::object self) { return nb::module_::import_("strata._lists").attr("array")(self); },
          "A list of numbers as a read-only numpy.ndarray, with no copy; bits as a copy, of "
          "bools.\n"
          "Raises TypeError for bytes and str.")
      .def(
          "verify",
          [](const PyList& self) {
            take_without_gil([&] { return self.frozen().segment.verify(); });
          },
          "Compares all of the list with the hash of when it was frozen. Raises CorruptError.")
      .def("_unpack_into", &unpack_into)
      .def("__repr__", &representation)
      .def_static("_from_handle", &from_handle)
      .def("__reduce_ex__", [](nb::object self, int) {
        const auto& list = nb::cast<const PyList&>(self);
        return reopened(self, handle_of(list.frozen().segment), list.start(), list.step(),
                        list.size());
      });
  // Not collections.abc: this one is there from the interpreter's start.
  nb::module_::import_("_collections_abc").attr("Sequence").attr("register")(list);

  module.def(
      "freeze",
      [](nb::handle items, const std::optional<std::string>& uri, nb::handle kind,
         nb::handle permissions) {
        return PyList(freeze(items, uri.value_or(""), parse_kind(kind), permissions));
      },
      "items"_a, "uri"_a = nb::none(), nb::kw_only(), "kind"_a = nb::none(),
      "permissions"_a = nb::none(),
      "Makes an immutable List in shared memory of a sequence of ints (of 64 bits), floats, "
      "bytes,\n"
      "strs or bools; or of anything with the buffer protocol and one dimension.\n\n"
      "uri: its name, as \"shm:primes\"; without, it is gone with the last process that has it: "
      "hand\n"
      "    it over by pickle, as an argument of a Process for example.\n"
      "kind: \"int\", \"float\", \"bytes\", \"str\" or \"bits\", where the first item does not say "
      "it;\n"
      "    \"float\" and \"int\" convert what is mixed, \"bits\" takes 0 and 1. int for no items.\n"
      "permissions: 0o600 by default.\n\n"
      "Raises OverflowError for ints of more than 64 bits; TypeError for what is mixed or of "
      "other\n"
      "types; ExistsError.");
}

}  // namespace strata::python
