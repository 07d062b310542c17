// strata.freeze(): what is given is checked and counted once, and then written into a segment that
// nobody sees before it is sealed.
#include <nanobind/stl/string.h>

#include <cstring>
#include <string>
#include <vector>

#include "python/core/catalog.h"
#include "python/core/held_buffer.h"
#include "python/core/list.h"
#include "python/core/shared_object.h"

namespace strata::python {
namespace {

[[noreturn]] void raise_as(PyObject* type, const std::string& message) {
  PyErr_SetString(type, message.c_str());
  throw nb::python_error();
}

std::string name_of_type(nb::handle object) {
  return nb::cast<std::string>(nb::handle(Py_TYPE(object.ptr())).attr("__name__"));
}

// The values of one list, in private memory or in that of whoever gave them.
struct Values {
  ListKind kind = ListKind::int64;
  std::vector<std::int64_t> ints;
  std::vector<double> floats;
  std::vector<std::string_view> strings;
  std::vector<std::uint64_t> words;
  std::uint64_t bits = 0;
  nb::object keeps = {};  // what `strings` look into

  void add_bit(bool value) {
    if (bits % 64 == 0) words.push_back(0);
    words.back() |= std::uint64_t{value} << (bits % 64);
    ++bits;
  }
  std::uint64_t bytes() const {
    switch (kind) {
      case ListKind::int64: return Int64List::bytes_for(ints.size());
      case ListKind::float64: return Float64List::bytes_for(floats.size());
      case ListKind::bits: return BitList::bytes_for(bits);
      default: return BytesList::bytes_for(strings);
    }
  }
  Result<void> write(std::span<std::byte> to) const {
    switch (kind) {
      case ListKind::int64: return Int64List::write(to, ints);
      case ListKind::float64: return Float64List::write(to, floats);
      case ListKind::bytes: return BytesList::write(to, strings);
      case ListKind::utf8: return StringList::write(to, strings);
      case ListKind::bits: return BitList::write(to, words, bits);
    }
    return fail(Code::internal, "freeze: no such kind");
  }
};

// From what has the buffer protocol (array.array, NumPy).

template <typename T>
void append_numbers(const Py_buffer& view, Values& to) {
  const auto* at = static_cast<const char*>(view.buf);
  const Py_ssize_t count = view.shape[0];
  const Py_ssize_t stride = view.strides[0];
  const auto each = [&](auto&& use) {
    for (Py_ssize_t i = 0; i < count; ++i) {
      T value;
      std::memcpy(&value, at + i * stride, sizeof value);
      use(value, i);
    }
  };
  if (to.kind == ListKind::float64) {
    to.floats.reserve(static_cast<std::size_t>(count));
    each([&](T value, Py_ssize_t) { to.floats.push_back(static_cast<double>(value)); });
  } else if constexpr (std::is_floating_point_v<T>) {
    raise_as(PyExc_TypeError,
             "freeze: these are floats, and no " + std::string(kind_name(to.kind)));
  } else if (to.kind == ListKind::int64) {
    to.ints.reserve(static_cast<std::size_t>(count));
    each([&](T value, Py_ssize_t i) {
      if (!std::in_range<std::int64_t>(value)) {
        raise_as(PyExc_OverflowError, "freeze: item " + std::to_string(i) +
                                          " is above 2^63 - 1: kind=\"float\" makes floats of all");
      }
      to.ints.push_back(static_cast<std::int64_t>(value));
    });
  } else {
    each([&](T value, Py_ssize_t i) {
      if (value != 0 && value != 1) {
        raise_as(PyExc_ValueError,
                 "freeze: item " + std::to_string(i) + " is no bit: it is neither 0 nor 1");
      }
      to.add_bit(value != 0);
    });
  }
}

template <typename T>
bool append_as(const Py_buffer& view, std::optional<ListKind> kind, Values& to) {
  if (view.itemsize != sizeof(T)) return false;
  to.kind = kind.value_or(std::is_floating_point_v<T> ? ListKind::float64 : ListKind::int64);
  if (to.kind == ListKind::bytes || to.kind == ListKind::utf8) {
    raise_as(PyExc_TypeError,
             "freeze: these are numbers, and no " + std::string(kind_name(to.kind)));
  }
  append_numbers<T>(view, to);
  return true;
}

// False for elements that are to be looked at one by one instead.
bool append_buffer(nb::handle items, std::optional<ListKind> kind, Values& to) {
  std::optional<HeldBuffer> held;
  try {
    held.emplace(items, PyBUF_FORMAT | PyBUF_STRIDES);
  } catch (nb::python_error&) {
    return false;  // it has elements that buffers have no name for
  }
  const Py_buffer& view = held->view();
  if (view.ndim != 1) {
    raise_as(PyExc_ValueError, "freeze: a list has one dimension, and this has " +
                                   std::to_string(view.ndim) + ": flatten it");
  }
  std::string_view format = view.format == nullptr ? "B" : view.format;
  if (format.starts_with('@') || format.starts_with('=') || format.starts_with('<'))
    format.remove_prefix(1);
  if (format.size() != 1) return false;
  switch (format[0]) {
    case '?':
      // As bytes: no bool is made of what is neither 0 nor 1.
      return append_as<std::uint8_t>(view, kind.value_or(ListKind::bits), to);
    case 'b': return append_as<std::int8_t>(view, kind, to);
    case 'B': return append_as<std::uint8_t>(view, kind, to);
    case 'h': return append_as<std::int16_t>(view, kind, to);
    case 'H': return append_as<std::uint16_t>(view, kind, to);
    case 'i': return append_as<std::int32_t>(view, kind, to);
    case 'I': return append_as<std::uint32_t>(view, kind, to);
    case 'l':
    case 'q':
      return append_as<std::int64_t>(view, kind, to) || append_as<std::int32_t>(view, kind, to);
    case 'L':
    case 'Q':
      return append_as<std::uint64_t>(view, kind, to) || append_as<std::uint32_t>(view, kind, to);
    case 'f': return append_as<float>(view, kind, to);
    case 'd': return append_as<double>(view, kind, to);
    default: return false;
  }
}

// From objects.

std::optional<ListKind> kind_of(nb::handle item) {
  if (PyBool_Check(item.ptr())) return ListKind::bits;
  if (PyLong_Check(item.ptr())) return ListKind::int64;
  if (PyFloat_Check(item.ptr())) return ListKind::float64;
  if (PyBytes_Check(item.ptr())) return ListKind::bytes;
  if (PyUnicode_Check(item.ptr())) return ListKind::utf8;
  return std::nullopt;
}

[[noreturn]] void raise_other_kind(const Values& to, std::uint64_t index, nb::handle item) {
  const std::string found = "freeze: item " + std::to_string(index) + " is of type " +
                            name_of_type(item) + ", in a list of " +
                            std::string(kind_name(to.kind));
  const auto kind = kind_of(item);
  const bool is_number =
      kind == ListKind::int64 || kind == ListKind::float64 || kind == ListKind::bits;
  if (!kind) {
    raise_as(PyExc_TypeError, found +
                                  ": lists are of int, float, bytes, str or bool; of an array of "
                                  "NumPy give the array itself");
  }
  if (is_number && to.kind != ListKind::bytes && to.kind != ListKind::utf8) {
    const bool has_float = kind == ListKind::float64 || to.kind == ListKind::float64;
    raise_as(PyExc_TypeError, found + ": kind=" + (has_float ? "\"float\"" : "\"int\"") +
                                  " makes " + (has_float ? "floats" : "ints") + " of all");
  }
  raise_as(PyExc_TypeError, found + ": a list has one kind; make a list of each");
}

std::int64_t int_of(PyObject* item, std::uint64_t index) {
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(item, &overflow);
  if (overflow != 0) {
    raise_as(PyExc_OverflowError,
             "freeze: item " + std::to_string(index) +
                 " does not fit into 64 bits: kind=\"float\" makes floats of all, or freeze their "
                 "texts (map(str, …))");
  }
  return value;
}

void append_item(Values& to, PyObject* item, std::uint64_t index, bool is_asked_for) {
  switch (to.kind) {
    case ListKind::int64:
      if (PyLong_CheckExact(item) || (PyLong_Check(item) && (is_asked_for || !PyBool_Check(item))))
        return to.ints.push_back(int_of(item, index));
      break;
    case ListKind::float64:
      if (PyFloat_Check(item)) return to.floats.push_back(PyFloat_AsDouble(item));
      if (is_asked_for && PyLong_Check(item)) {
        const double value = PyLong_AsDouble(item);
        if (value == -1.0 && PyErr_Occurred() != nullptr) throw nb::python_error();
        return to.floats.push_back(value);
      }
      break;
    case ListKind::bits:
      if (PyBool_Check(item)) return to.add_bit(item == Py_True);
      if (is_asked_for && PyLong_Check(item)) {
        const std::int64_t value = int_of(item, index);
        if (value == 0 || value == 1) return to.add_bit(value == 1);
        raise_as(PyExc_ValueError,
                 "freeze: item " + std::to_string(index) + " is no bit: it is neither 0 nor 1");
      }
      break;
    case ListKind::bytes:
      if (PyBytes_Check(item)) {
        to.strings.emplace_back(PyBytes_AsString(item),
                                static_cast<std::size_t>(PyBytes_Size(item)));
        return;
      }
      break;
    case ListKind::utf8:
      if (PyUnicode_Check(item)) {
        Py_ssize_t bytes = 0;
        const char* const text = PyUnicode_AsUTF8AndSize(item, &bytes);
        if (text == nullptr) throw nb::python_error();
        to.strings.emplace_back(text, static_cast<std::size_t>(bytes));
        return;
      }
      break;
  }
  raise_other_kind(to, index, item);
}

void append_items(nb::handle items, std::optional<ListKind> kind, Values& to) {
  // A tuple of our own, or the caller's: nobody changes it, and it keeps alive what strings show.
  to.keeps = nb::steal(PySequence_Tuple(items.ptr()));
  if (!to.keeps.is_valid()) throw nb::python_error();
  const auto count = static_cast<std::uint64_t>(PyTuple_Size(to.keeps.ptr()));
  to.kind = kind.value_or(ListKind::int64);
  if (!kind && count > 0) {
    PyObject* const first = PyTuple_GetItem(to.keeps.ptr(), 0);
    const auto found = kind_of(first);
    if (!found) {
      raise_as(PyExc_TypeError, "freeze: item 0 is of type " + name_of_type(first) +
                                    ": lists are of int, float, bytes, str or bool");
    }
    to.kind = *found;
  }
  if (to.kind == ListKind::int64) to.ints.reserve(count);
  if (to.kind == ListKind::float64) to.floats.reserve(count);
  if (to.kind == ListKind::bytes || to.kind == ListKind::utf8) to.strings.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i)
    append_item(to, PyTuple_GetItem(to.keeps.ptr(), static_cast<Py_ssize_t>(i)), i,
                kind.has_value());
}

Values values_of(nb::handle items, std::optional<ListKind> kind) {
  if (PyUnicode_Check(items.ptr()) || PyBytes_Check(items.ptr()) ||
      PyByteArray_Check(items.ptr())) {
    raise_as(PyExc_TypeError, "freeze: one " + name_of_type(items) +
                                  " is no list: freeze a list of them; bytes alone go into a "
                                  "segment of their own");
  }
  Values values;
  if (PyObject_CheckBuffer(items.ptr()) != 0 && append_buffer(items, kind, values)) return values;
  append_items(items, kind, values);
  return values;
}

Result<Segment> make(Catalog& catalog, const std::string& uri, const CreateOptions& options,
                     const Values& values) {
  STRATA_ASSIGN(Segment segment, catalog.create(uri, options));
  const auto filled = [&]() -> Result<void> {
    STRATA_ASSIGN(const std::span<std::byte> payload, segment.writable_bytes());
    STRATA_TRY(values.write(payload));
    // Nobody has seen it: it is sealed before it is there.
    return segment.seal();
  }();
  if (filled) return segment;
  (void)catalog.remove(uri, {.even_if_attached = true});
  return unexpected(filled.error());
}

}  // namespace

std::shared_ptr<const Frozen> freeze(nb::handle items, const std::string& uri,
                                     std::optional<ListKind> kind, nb::handle permissions) {
  const Values values = values_of(items, kind);
  CreateOptions options{.payload_bytes = values.bytes(), .publish = Publish::by_creator};
  options.content.type = kListType;
  if (uri.empty()) options.lifetime = Lifetime::last_detach;
  if (!permissions.is_none()) options.mode = nb::cast<std::uint32_t>(permissions);
  const std::string name = uri.empty() ? unique_uri(kListType) : uri;
  Catalog& catalog = catalog_for(name);
  return std::make_shared<const Frozen>(
      take_without_gil([&] { return make(catalog, name, options, values); }));
}

}  // namespace strata::python
