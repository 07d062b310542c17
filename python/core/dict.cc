#include "python/core/dict.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include <algorithm>

#include "python/core/catalog.h"
#include "python/core/shared_object.h"
#include "strata/base/bytes.h"
#include "strata/segment/content.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

// Where the other threads of Python had better go on meanwhile.
constexpr std::size_t kLongBytes = 256 * 1024;
constexpr std::uint64_t kCreateTimeoutMs = 10'000;
// A copy of a value before it becomes an object of Python: kept, so that it need not be allocated.
constexpr std::size_t kRoomBytes = 1 << 20;

class Room {
 public:
  ~Room() {
    if (bytes_.capacity() > kRoomBytes) std::string().swap(bytes_);
  }
  std::string& bytes() { return bytes_; }

 private:
  static thread_local std::string bytes_;
};
thread_local std::string Room::bytes_;

TransactOptions until(Deadline deadline) {
  return {.timeout_ms = (deadline.remaining_ns() + 999'999) / 1'000'000};
}

// What is not of the type that it is asked for.
[[noreturn]] void raise_type(const char* format, nb::handle object) {
  PyErr_Format(PyExc_TypeError, format, nb::inst_name(object).c_str());
  throw nb::python_error();
}

std::string_view text_of(nb::handle object) {
  Py_ssize_t bytes = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(object.ptr(), &bytes);
  if (text == nullptr) throw nb::python_error();
  return {text, static_cast<std::size_t>(bytes)};
}
std::string_view bytes_of_object(nb::handle object) {
  return {PyBytes_AsString(object.ptr()), static_cast<std::size_t>(PyBytes_Size(object.ptr()))};
}

// The bytes are those of the object, which the caller holds.
DictionaryKey key_of(nb::handle key) {
  if (PyUnicode_Check(key.ptr())) return text_of(key);
  if (PyBytes_Check(key.ptr())) return DictionaryKey::of_bytes(bytes_of_object(key));
  if (PyBool_Check(key.ptr()) || !PyIndex_Check(key.ptr()))
    raise_type("a key of a Dict is str, bytes or int, not %s", key);
  const nb::object number = nb::steal(PyNumber_Index(key.ptr()));
  if (!number.is_valid()) throw nb::python_error();
  const long long value = PyLong_AsLongLong(number.ptr());  // OverflowError beyond 64 bits
  if (value == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
  return static_cast<std::int64_t>(value);
}

// A value, and what holds its bytes.
struct HeldValue {
  DictionaryValue value;
  nb::object holder;
};

HeldValue pickled(nb::handle object) {
  nb::object bytes = nb::module_::import_("pickle").attr("dumps")(object, 5);
  return {DictionaryValue::of_other(PyDict::kPickleTag, bytes_of_object(bytes)), bytes};
}

HeldValue value_of(nb::handle object, bool may_pickle) {
  PyObject* const value = object.ptr();
  if (value == Py_None) return {DictionaryValue(), {}};
  if (PyBool_Check(value)) return {value == Py_True, {}};
  if (PyLong_CheckExact(value)) {
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow == 0) return {static_cast<std::int64_t>(number), {}};
    if (may_pickle) return pickled(object);
    PyErr_SetString(PyExc_OverflowError,
                    "an int of more than 64 bits: strata.Dict(..., pickle=True) takes it");
    throw nb::python_error();
  }
  if (PyFloat_CheckExact(value)) return {PyFloat_AsDouble(value), {}};
  if (PyUnicode_CheckExact(value)) return {text_of(object), {}};
  if (PyBytes_CheckExact(value)) return {DictionaryValue::of_bytes(bytes_of_object(object)), {}};
  if (may_pickle) return pickled(object);
  raise_type(
      "a value of a Dict is None, bool, int, float, str or bytes, not %s; where you trust all who "
      "write to it, strata.Dict(..., pickle=True) takes anything that pickle takes",
      object);
}

nb::object text_to_python(std::string_view text) {
  // Also what another program wrote that is no UTF-8.
  return nb::steal(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "surrogateescape"));
}
nb::object bytes_to_python(std::string_view bytes) {
  return nb::steal(PyBytes_FromStringAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size())));
}

nb::object checked(nb::object object) {
  if (!object.is_valid()) throw nb::python_error();
  return object;
}

nb::object key_to_python(const DictionaryKey& key) {
  switch (key.kind) {
    case DictionaryKey::Kind::integer: return checked(nb::steal(PyLong_FromLongLong(key.integer)));
    case DictionaryKey::Kind::text: return checked(text_to_python(key.bytes));
    case DictionaryKey::Kind::bytes: break;
  }
  return checked(bytes_to_python(key.bytes));
}

}  // namespace

PyDict::PyDict(Segment segment, bool has_pickles, Timeout timeout)
    : segment_(std::move(segment)),
      dictionary_(std::make_shared<SharedDictionary>(
          take_without_gil([&] { return SharedDictionary::open(segment_); }))),
      has_pickles_(has_pickles),
      is_slow_(!segment_.durability().is_volatile()),
      timeout_(timeout) {}

nb::object PyDict::to_python(const DictionaryValue& value) const {
  switch (value.kind) {
    case DictionaryValue::Kind::none: return nb::none();
    case DictionaryValue::Kind::boolean: return nb::bool_(value.boolean());
    case DictionaryValue::Kind::integer:
      return checked(nb::steal(PyLong_FromLongLong(value.integer())));
    case DictionaryValue::Kind::real: return checked(nb::steal(PyFloat_FromDouble(value.real())));
    case DictionaryValue::Kind::bytes: return checked(bytes_to_python(value.bytes));
    case DictionaryValue::Kind::text: return checked(text_to_python(value.bytes));
    case DictionaryValue::Kind::other: break;
  }
  if (value.tag != kPickleTag) {
    raise(Code::unsupported, "a value of another program, with tag " + std::to_string(value.tag));
  }
  if (!has_pickles_) {
    raise(
        Code::invalid_argument,
        "the value is a pickle, and to read it runs what its writer says: where you trust all who "
        "write to " +
            segment_.uri().to_string() + ", open it by strata.Dict(..., pickle=True)");
  }
  const nb::object bytes = checked(bytes_to_python(value.bytes));
  return nb::module_::import_("pickle").attr("loads")(bytes);
}

PyDict::Open* PyDict::find_mine() const {
  // In a forked child they are its parent's.
  if (!dictionary_->is_of_this_process()) {
    open_.clear();
    return nullptr;
  }
  const unsigned long thread = PyThread_get_thread_ident();
  for (const auto& open : open_)
    if (open->thread == thread) return open.get();
  return nullptr;
}

Transaction* PyDict::transaction() const {
  const Open* const open = mine();
  if (open == nullptr) return nullptr;
  return take(open->transaction.transaction());
}

// In a forked child: transactions that were open are its parent's.
void PyDict::join() {
  open_.clear();
  dictionary_ = std::make_shared<SharedDictionary>(
      take_without_gil([&] { return SharedDictionary::open(segment_); }));
}

SharedDictionary& PyDict::writable() {
  if (segment_.access() != Access::read_write) {
    raise(Code::permission_denied,
          segment_.uri().to_string() + " was attached with mode \"r\": it can be read alone");
  }
  if (!dictionary_->is_of_this_process()) join();
  return *dictionary_;
}

// Reads: `look(dictionary, options)` needs the lock seldom, and is not waited for with the GIL.
template <typename Look>
auto PyDict::look(Look&& look) {
  auto seen = look(*dictionary_, TransactOptions{.timeout_ms = 0});
  if (seen) return seen;
  if (seen.error().code() == Code::failed_precondition && segment_.access() == Access::read_write &&
      !dictionary_->is_of_this_process()) {
    join();
    seen = look(*dictionary_, TransactOptions{.timeout_ms = 0});
  }
  if (seen || seen.error().code() != Code::timed_out) return seen;
  const std::shared_ptr<SharedDictionary> held = dictionary_;
  return wait(timeout_, [&](Deadline deadline) { return look(*held, until(deadline)); });
}

// Changes by `change(dictionary, options)`, of that many bytes.
template <typename Change>
auto PyDict::change(std::size_t bytes, Change&& change) {
  SharedDictionary& dictionary = writable();
  if (!is_slow_ && bytes < kLongBytes) {
    auto done = change(dictionary, TransactOptions{.timeout_ms = 0});
    if (done || done.error().code() != Code::timed_out) return take(std::move(done));
  }
  const std::shared_ptr<SharedDictionary> held = dictionary_;
  const auto attempt = [&](Deadline deadline) { return change(*held, until(deadline)); };
  if (timeout_.is_now()) return take(without_gil([&] { return attempt(Deadline::after_ns(0)); }));
  return take(wait(timeout_, attempt));
}

nb::object PyDict::get(nb::handle key) {
  const DictionaryKey wanted = key_of(key);
  if (Transaction* const tx = transaction()) {
    const auto value = take(dictionary_->map().get(*tx, wanted));
    return value ? to_python(*value) : nb::object();
  }
  Room room;
  const auto value =
      take(look([&](const SharedDictionary& dictionary, const TransactOptions& options) {
        return dictionary.get(wanted, room.bytes(), options);
      }));
  return value ? to_python(*value) : nb::object();
}

void PyDict::set(nb::handle key, nb::handle value) {
  const DictionaryKey wanted = key_of(key);
  const HeldValue held = value_of(value, has_pickles_);
  if (Transaction* const tx = transaction()) {
    return take(dictionary_->map().set(*tx, wanted, held.value));
  }
  change(held.value.bytes.size(),
         [&](SharedDictionary& dictionary, const TransactOptions& options) {
           return dictionary.set(wanted, held.value, options);
         });
}

bool PyDict::insert(nb::handle key, nb::handle value) {
  const DictionaryKey wanted = key_of(key);
  const HeldValue held = value_of(value, has_pickles_);
  if (Transaction* const tx = transaction()) {
    return take(dictionary_->map().insert(*tx, wanted, held.value));
  }
  return change(held.value.bytes.size(),
                [&](SharedDictionary& dictionary, const TransactOptions& options) {
                  return dictionary.insert(wanted, held.value, options);
                });
}

bool PyDict::erase(nb::handle key) {
  const DictionaryKey wanted = key_of(key);
  if (Transaction* const tx = transaction()) return take(dictionary_->map().erase(*tx, wanted));
  return change(0, [&](SharedDictionary& dictionary, const TransactOptions& options) {
    return dictionary.erase(wanted, options);
  });
}

bool PyDict::contains(nb::handle key) {
  const DictionaryKey wanted = key_of(key);
  if (Transaction* const tx = transaction()) {
    return take(dictionary_->map().get(*tx, wanted)).has_value();
  }
  return take(look([&](const SharedDictionary& dictionary, const TransactOptions& options) {
    return dictionary.contains(wanted, options);
  }));
}

nb::object PyDict::pop(nb::handle key) {
  const DictionaryKey wanted = key_of(key);
  if (Transaction* const tx = transaction()) {
    const auto value = take(dictionary_->map().get(*tx, wanted));
    if (!value) return {};
    nb::object popped = to_python(*value);
    take(dictionary_->map().erase(*tx, wanted));
    return popped;
  }
  Room room;
  const auto value = change(0, [&](SharedDictionary& dictionary, const TransactOptions& options) {
    return dictionary.pop(wanted, room.bytes(), options);
  });
  return value ? to_python(*value) : nb::object();
}

std::int64_t PyDict::add(nb::handle key, std::int64_t difference) {
  const DictionaryKey wanted = key_of(key);
  if (Transaction* const tx = transaction()) {
    return take(dictionary_->map().add(*tx, wanted, difference));
  }
  return change(0, [&](SharedDictionary& dictionary, const TransactOptions& options) {
    return dictionary.add(wanted, difference, options);
  });
}

bool PyDict::compare_and_set(nb::handle key, nb::handle expected, nb::handle desired) {
  const DictionaryKey wanted = key_of(key);
  std::optional<HeldValue> before, after;
  if (expected.is_valid()) before = value_of(expected, has_pickles_);
  if (desired.is_valid()) after = value_of(desired, has_pickles_);
  const auto value = [](const std::optional<HeldValue>& held) {
    return held ? std::optional(held->value) : std::nullopt;
  };
  if (Transaction* const tx = transaction()) {
    return take(dictionary_->map().compare_and_set(*tx, wanted, value(before), value(after)));
  }
  return change(after ? after->value.bytes.size() : 0,
                [&](SharedDictionary& dictionary, const TransactOptions& options) {
                  return dictionary.compare_and_set(wanted, value(before), value(after), options);
                });
}

std::uint64_t PyDict::size() {
  if (Transaction* const tx = transaction()) return dictionary_->map().size(*tx);
  return take(look([](const SharedDictionary& dictionary, const TransactOptions& options) {
    return dictionary.size(options);
  }));
}

void PyDict::clear() {
  if (Transaction* const tx = transaction()) return take(dictionary_->map().clear(*tx));
  change(kLongBytes, [](SharedDictionary& dictionary, const TransactOptions& options) {
    return dictionary.clear(options);
  });
}

// Copied without the GIL, so that no object of Python can be made meanwhile.
struct PyDict::Snapshot {
  struct Item {
    DictionaryKey key;
    DictionaryValue value;
    std::size_t key_at, key_bytes, value_at, value_bytes;
  };
  std::string bytes;
  std::vector<Item> items;

  void clear() {
    bytes.clear();
    items.clear();
  }
  Result<void> add(const DictionaryKey& key, const DictionaryValue& value) {
    try {
      items.push_back({key, value, bytes.size(), key.bytes.size(), bytes.size() + key.bytes.size(),
                       value.bytes.size()});
      bytes += key.bytes;
      bytes += value.bytes;
      return {};
    } catch (const std::exception&) {
      return fail(Code::exhausted, "no memory for a copy of a Dict");
    }
  }
  // The views that were of the segment become those of the copy.
  void finish() {
    for (Item& item : items) {
      item.key.bytes = std::string_view(bytes).substr(item.key_at, item.key_bytes);
      item.value.bytes = std::string_view(bytes).substr(item.value_at, item.value_bytes);
    }
  }
};

PyDict::Snapshot PyDict::snapshot() {
  Snapshot copy;
  const auto add = [&](const DictionaryKey& key, const DictionaryValue& value) {
    return copy.add(key, value);
  };
  if (Transaction* const tx = transaction()) {
    take(dictionary_->map().for_each(*tx, add));
  } else {
    if (segment_.access() == Access::read_write) (void)writable();
    const std::shared_ptr<SharedDictionary> held = dictionary_;
    const auto attempt = [&](Deadline deadline) {
      return held->for_each([&] { copy.clear(); }, add, until(deadline));
    };
    take(timeout_.is_now() ? without_gil([&] { return attempt(Deadline::after_ns(0)); })
                           : wait(timeout_, attempt));
  }
  copy.finish();
  return copy;
}

nb::list PyDict::keys() {
  const Snapshot copy = snapshot();
  nb::list keys;
  for (const Snapshot::Item& item : copy.items)
    keys.append(key_to_python(item.key));
  return keys;
}

nb::list PyDict::items() {
  const Snapshot copy = snapshot();
  nb::list items;
  for (const Snapshot::Item& item : copy.items)
    items.append(nb::make_tuple(key_to_python(item.key), to_python(item.value)));
  return items;
}

void PyDict::begin(nb::handle timeout) {
  (void)writable();
  if (Open* const open = mine()) {
    ++open->depth;
    return;
  }
  const std::shared_ptr<SharedDictionary> held = dictionary_;
  const auto attempt = [&](Deadline deadline) { return held->begin(until(deadline)); };
  const Timeout until_then = timeout.is_none() ? timeout_ : Timeout::from(timeout);
  auto begun = held->begin({.timeout_ms = 0});
  if (!begun && begun.error().code() == Code::timed_out && !until_then.is_now()) {
    begun = wait(until_then, attempt);
  }
  open_.push_back(
      std::make_unique<Open>(Open{PyThread_get_thread_ident(), 1, take(std::move(begun))}));
}

void PyDict::commit() {
  Open* const open = mine();
  if (open == nullptr) raise(Code::failed_precondition, "no transaction of this thread is open");
  if (--open->depth > 0) return;
  OpenTransaction transaction = std::move(open->transaction);
  std::erase_if(open_, [&](const auto& each) { return each.get() == open; });
  take_without_gil([&] { return transaction.commit(); });
}

void PyDict::abort() {
  Open* const open = mine();
  if (open == nullptr) return;  // a forked child, or one that has ended
  if (--open->depth > 0) {
    // Whoever goes on after a part of it has failed finds out at its end.
    take(open->transaction.transaction())
        ->fail_with(Status(Code::failed_precondition,
                           "a transaction within it was left by an exception: nothing was done"));
    return;
  }
  OpenTransaction transaction = std::move(open->transaction);
  std::erase_if(open_, [&](const auto& each) { return each.get() == open; });
  take_without_gil([&] { return transaction.abort(); });
}

nb::dict PyDict::check() {
  const DictionaryReport report =
      take(look([](const SharedDictionary& dictionary, const TransactOptions& options) {
        return dictionary.check(options);
      }));
  nb::dict found;
  found["keys"] = report.keys;
  found["buckets"] = report.buckets;
  found["longest_chain"] = report.longest_chain;
  found["nbytes"] = report.node_bytes;
  nb::list findings;
  for (const std::string& finding : report.findings)
    findings.append(finding);
  found["findings"] = findings;
  return found;
}

namespace {

std::uint64_t size_of(nb::handle size) {
  return nb::isinstance<nb::str>(size) ? take(parse_bytes(nb::cast<std::string>(size)))
                                       : nb::cast<std::uint64_t>(size);
}

Segment make_segment(nb::handle uri, nb::handle size, nb::handle max_size,
                     nb::handle transaction_size, nb::handle permissions) {
  const std::string name = uri.is_none() ? unique_uri(PyDict::kType) : nb::cast<std::string>(uri);
  CreateOptions create{.payload_bytes = size_of(size)};
  // A pool sets aside what a segment may grow to; shared memory does not.
  const std::uint64_t most = !max_size.is_none()         ? size_of(max_size)
                             : name.starts_with("pmem:") ? create.payload_bytes
                                                         : GiB(1);
  create.max_bytes = std::max(most, create.payload_bytes);
  create.content.type = PyDict::kType;
  if (!permissions.is_none()) create.mode = nb::cast<std::uint32_t>(permissions);
  if (uri.is_none()) create.lifetime = Lifetime::last_detach;
  SharedDictionaryOptions options;
  options.transaction_bytes = transaction_size.is_none() ? 0 : size_of(transaction_size);
  Catalog& catalog = catalog_for(name);
  const Catalog::Fill fill = [&](Segment& segment) -> Result<void> {
    STRATA_TRY(SharedDictionary::create(segment, options));
    return {};
  };
  CreatedOrAttached made = take_without_gil([&] {
    return catalog.create_or_attach(name, create, fill, {.timeout_ms = kCreateTimeoutMs});
  });
  check_type(made.segment, PyDict::kType);
  return std::move(made.segment);
}

// The object behind `self`, which __new__ alone does not make.
PyDict& object_of(PyObject* self) {
  if (!nb::inst_ready(self)) [[unlikely]] {
    PyErr_SetString(PyExc_ValueError, "Dict.__init__() has not been called");
    throw nb::python_error();
  }
  return *nb::inst_ptr<PyDict>(self);
}

// No exception of C++ reaches the interpreter.
template <typename T, typename Work>
T guarded(T failure, Work&& work) noexcept {
  try {
    return work();
  } catch (nb::python_error& error) {
    error.restore();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return failure;
}

[[noreturn]] void raise_key_error(nb::handle key) {
  PyErr_SetObject(PyExc_KeyError, key.ptr());
  throw nb::python_error();
}

// The operators, bound by hand: by nanobind they would take some 20 ns more.
PyObject* get_item(PyObject* self, PyObject* key) noexcept {
  return guarded<PyObject*>(nullptr, [&] {
    nb::object value = object_of(self).get(key);
    if (!value.is_valid()) raise_key_error(key);
    return value.release().ptr();
  });
}

int set_item(PyObject* self, PyObject* key, PyObject* value) noexcept {
  return guarded(-1, [&] {
    PyDict& dict = object_of(self);
    if (value != nullptr) {
      dict.set(key, value);
    } else if (!dict.erase(key)) {
      raise_key_error(key);
    }
    return 0;
  });
}

Py_ssize_t length(PyObject* self) noexcept {
  return guarded(Py_ssize_t{-1}, [&] { return static_cast<Py_ssize_t>(object_of(self).size()); });
}

int contains(PyObject* self, PyObject* key) noexcept {
  return guarded(-1, [&] { return object_of(self).contains(key) ? 1 : 0; });
}

PyObject* get(PyObject* self, PyObject* const* args, Py_ssize_t count) noexcept {
  return guarded<PyObject*>(nullptr, [&] {
    if (count < 1 || count > 2) {
      PyErr_Format(PyExc_TypeError, "get() takes a key and a default (%zd arguments given)", count);
      throw nb::python_error();
    }
    nb::object value = object_of(self).get(args[0]);
    if (value.is_valid()) return value.release().ptr();
    return Py_NewRef(count == 2 ? args[1] : Py_None);
  });
}

PyObject* add(PyObject* self, PyObject* const* args, Py_ssize_t count) noexcept {
  return guarded<PyObject*>(nullptr, [&] {
    if (count < 1 || count > 2) {
      PyErr_Format(PyExc_TypeError, "add() takes a key and a number (%zd arguments given)", count);
      throw nb::python_error();
    }
    const long long difference = count == 2 ? PyLong_AsLongLong(args[1]) : 1;
    if (difference == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
    return PyLong_FromLongLong(object_of(self).add(args[0], difference));
  });
}

template <typename Function>
PyCFunction as_method(Function* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}

PyMethodDef methods[] = {
    {"get", as_method(&get), METH_FASTCALL,
     "get($self, key, default=None, /)\n--\n\nThe value of a key, or the default."},
    {"add", as_method(&add), METH_FASTCALL,
     "add($self, key, number=1, /)\n--\n\n"
     "Adds to an int, from 0 for a new key, and returns the sum, as one step that no other "
     "process\n"
     "comes between. Raises ValueError where the value is no int, or the sum has more than 64 "
     "bits."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_mp_subscript, reinterpret_cast<void*>(get_item)},
    {Py_mp_ass_subscript, reinterpret_cast<void*>(set_item)},
    {Py_mp_length, reinterpret_cast<void*>(length)},
    {Py_sq_contains, reinterpret_cast<void*>(contains)},
    {Py_tp_methods, methods},
    {0, nullptr},
};

// What pop() and setdefault() of Python leave out.
nb::object or_missing(nb::object value, nb::handle missing) {
  return value.is_valid() ? value : nb::borrow(missing);
}

}  // namespace

void bind_dict(nb::module_& module) {
  nb::class_<PyDict>(module, "Dict", nb::type_slots(slots), nb::is_weak_referenceable())
      .def(
          "__init__",
          [](PyDict* self, nb::handle uri, nb::handle size, nb::handle max_size,
             nb::handle transaction_size, bool pickle, nb::handle timeout, nb::handle permissions) {
            Segment segment = make_segment(uri, size, max_size, transaction_size, permissions);
            new (self) PyDict(std::move(segment), pickle, Timeout::from(timeout));
          },
          "uri"_a.none(), "size"_a, "max_size"_a.none(), "transaction_size"_a.none(), "pickle"_a,
          "timeout"_a.none(), "permissions"_a.none())
      .def(
          "_init_attached",
          [](nb::handle self, const std::string& uri, std::string_view mode, double wait,
             bool pickle, nb::handle timeout) {
            Segment segment = attach_by_uri(uri, {.access = parse_mode(mode)}, wait);
            check_type(segment, PyDict::kType);
            new (nb::inst_ptr<PyDict>(self))
                PyDict(std::move(segment), pickle, Timeout::from(timeout));
            nb::inst_mark_ready(self);
          },
          "uri"_a, "mode"_a, "wait"_a, "pickle"_a, "timeout"_a.none())
      .def(
          "_init_from_handle",
          [](nb::handle self, const nb::bytes& handle, std::string_view mode, bool pickle,
             nb::handle timeout) {
            Segment segment = attach_by_handle(handle, mode, 1.0);
            check_type(segment, PyDict::kType);
            new (nb::inst_ptr<PyDict>(self))
                PyDict(std::move(segment), pickle, Timeout::from(timeout));
            nb::inst_mark_ready(self);
          },
          "handle"_a, "mode"_a, "pickle"_a, "timeout"_a.none())
      .def("_handle", [](PyDict& self) { return handle_of(self.segment()); })
      .def_prop_ro(
          "uri", [](PyDict& self) { return self.segment().uri().to_string(); },
          "The URI of its segment: whoever gives it to Dict gets the same one.")
      .def_prop_ro("name", [](PyDict& self) { return self.segment().uri().name; })
      .def_prop_ro("mode", [](PyDict& self) { return mode_name(self.segment().access()); })
      .def_prop_ro("pickle", &PyDict::has_pickles, "Whether values may be pickles.")
      .def("_insert", &PyDict::insert, "key"_a.none(), "value"_a.none())
      .def(
          "_pop",
          [](PyDict& self, nb::handle key, nb::handle missing) {
            return or_missing(self.pop(key), missing);
          },
          "key"_a.none(), "missing"_a)
      .def(
          "_compare_and_set",
          [](PyDict& self, nb::handle key, nb::handle expected, nb::handle desired,
             nb::handle missing) {
            return self.compare_and_set(key, expected.is(missing) ? nb::handle() : expected,
                                        desired.is(missing) ? nb::handle() : desired);
          },
          "key"_a.none(), "expected"_a.none(), "desired"_a.none(), "missing"_a)
      .def("clear", &PyDict::clear, "Removes all keys, at once for everybody.")
      .def("_keys", &PyDict::keys)
      .def("_items", &PyDict::items)
      .def("_begin", &PyDict::begin, "timeout"_a.none())
      .def("_commit", &PyDict::commit)
      .def("_abort", &PyDict::abort)
      .def_prop_ro("in_transaction", &PyDict::is_in_transaction,
                   "Whether this thread has a transaction open.")
      .def("check", &PyDict::check,
           "Looks at every key: a dict with \"keys\", \"buckets\", \"longest_chain\", \"nbytes\"\n"
           "and \"findings\", the list of what is wrong.");
}

}  // namespace strata::python
