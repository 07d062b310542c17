// strata.ShardedLock.
#include <nanobind/stl/string.h>

#include <optional>
#include <vector>

#include "python/core/async.h"
#include "python/core/hot_methods.h"
#include "python/core/lock.h"
#include "python/core/locks.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

constexpr std::uint64_t kMostShards = 4096;

// FNV-1a, and a finalizer: the hashes of Python differ from process to process.
std::uint64_t hash_of(std::string_view bytes) {
  std::uint64_t hash = 0xCBF29CE484222325;
  for (const char byte : bytes)
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3;
  hash ^= hash >> 32;
  hash *= 0x9E3779B97F4A7C15;
  return hash ^ hash >> 32;
}

std::uint64_t hash_of(nb::handle key) {
  if (PyUnicode_Check(key.ptr())) {
    Py_ssize_t size = 0;
    const char* const text = PyUnicode_AsUTF8AndSize(key.ptr(), &size);
    if (text == nullptr) throw nb::python_error();
    return hash_of({text, static_cast<std::size_t>(size)});
  }
  if (PyBytes_Check(key.ptr())) {
    return hash_of(
        {PyBytes_AsString(key.ptr()), static_cast<std::size_t>(PyBytes_Size(key.ptr()))});
  }
  if (PyIndex_Check(key.ptr()) != 0) {
    const nb::object number = nb::steal(PyNumber_Index(key.ptr()));
    if (!number.is_valid()) throw nb::python_error();
    const std::uint64_t value = PyLong_AsUnsignedLongLongMask(number.ptr());
    return hash_of({reinterpret_cast<const char*>(&value), sizeof value});
  }
  PyErr_Format(PyExc_TypeError, "a key is an int, a str or bytes, not %s",
               nb::inst_name(key).c_str());
  throw nb::python_error();
}

class PyShardedLock {
 public:
  explicit PyShardedLock(SharedObject opened)
      : object_(std::make_shared<SharedObject>(std::move(opened))),
        shards_(object_->segment().identity().created_payload_bytes / sizeof(MutexSlot)) {}
  static PyShardedLock* from_handle(const nb::bytes& handle) {
    return new PyShardedLock(SharedObject::attach_handle(kShardedLockType, handle));
  }

  SharedObject& object() { return *object_; }
  std::uint64_t size() const { return shards_.size(); }

  MutexState& shard(std::uint64_t index) { return *shard_pointer(index); }
  PyLock at(Py_ssize_t index) {
    const auto count = static_cast<Py_ssize_t>(size());
    if (index < -count || index >= count) throw nb::index_error("there is no such shard");
    return {shard_pointer(static_cast<std::uint64_t>(index < 0 ? index + count : index))};
  }
  PyLock of(nb::handle key) { return {shard_pointer(hash_of(key) % size())}; }

  // All of them, in order, so that two who want all do not wait for each other.
  bool acquire(Timeout timeout) {
    const auto end = timeout.ns() ? std::optional(Deadline::after_ns(*timeout.ns())) : std::nullopt;
    std::uint64_t held = 0;
    try {
      while (held < size() && shard(held).acquire(left(timeout, end)))
        ++held;
    } catch (...) {
      release_first(held);
      throw;
    }
    if (held == size()) return true;
    release_first(held);
    return false;
  }
  void release() {
    for (std::uint64_t i = 0; i < size(); ++i) {
      if (!shard(i).is_held_by_this_thread()) shard(i).not_held("release");
    }
    release_first(size());
  }

  bool is_recovered() {
    for (std::uint64_t i = 0; i < size(); ++i) {
      if (shard(i).is_recovered()) return true;
    }
    return false;
  }

 private:
  static Timeout left(Timeout timeout, const std::optional<Deadline>& end) {
    return end && !timeout.is_now() ? Timeout::after_ns(end->remaining_ns()) : timeout;
  }
  void release_first(std::uint64_t count) {
    while (count > 0)
      shard(--count).release();
  }
  const std::shared_ptr<MutexState>& shard_pointer(std::uint64_t index) {
    std::shared_ptr<MutexState>& shard = shards_[index];
    if (!shard) shard = mutex_in(object_, place_of_shard(index));
    return shard;
  }

  std::shared_ptr<SharedObject> object_;
  std::vector<std::shared_ptr<MutexState>> shards_;  // made when first asked for
};

}  // namespace

void bind_sharded_lock(nb::module_& module) {
  auto type = bind_shared<PyShardedLock>(
      module, "ShardedLock", nb::type_slots(HotMethods<PyShardedLock>::slots()),
      "Many locks at once, so that those who want different things do not wait for each other:\n\n"
      "    with locks.of(key): ...     # the lock of that key, in every process\n"
      "    with locks[3]: ...          # that of a shard\n"
      "    with locks: ...             # all of them\n\n"
      "Whoever holds one and asks for another may wait for ever for somebody who does the same\n"
      "the other way round: take them in the order of their shards, or all.");
  type.def(
          "__init__",
          [](PyShardedLock* self, std::uint64_t shards, nb::handle where, nb::handle permissions) {
            if (shards < 1 || shards > kMostShards) {
              raise(Code::invalid_argument,
                    std::to_string(shards) + " shards: it is 1 to " + std::to_string(kMostShards));
            }
            const std::string uri = where.is_none() ? "" : uri_of(where, kShardedLockType);
            PyShardedLock made(SharedObject::make(kShardedLockType, uri, shards * sizeof(MutexSlot),
                                                  {}, permissions));
            if (made.size() != shards) {
              raise(Code::invalid_argument, made.object().uri() + " was made with " +
                                                std::to_string(made.size()) + " shards, not " +
                                                std::to_string(shards));
            }
            new (self) PyShardedLock(std::move(made));
          },
          "shards"_a = 16, "where"_a = nb::none(), nb::kw_only(), "permissions"_a = nb::none(),
          nb::sig("def __init__(self, shards: int = 16, where: str | None = None, *,"
                  " permissions: int | None = None) -> None"))
      .def("of", &PyShardedLock::of, "key"_a,
           nb::sig("def of(self, key: int | str | bytes) -> Lock"),
           "The lock of a key: the same one in every process; keys may share one.")
      .def("__getitem__", &PyShardedLock::at)
      .def("__len__", &PyShardedLock::size)
      .def("_try_acquire", [](PyShardedLock& self) { return self.acquire(Timeout::now()); })
      .def_prop_ro("recovered", &PyShardedLock::is_recovered,
                   "Whether one of them was taken from a holder that died, and is not repaired.")
      .def("__repr__", [](PyShardedLock& self) {
        return "<strata.ShardedLock " + self.object().uri() + " of " + std::to_string(self.size()) +
               ">";
      });
  bind_async_acquire(type);
}

}  // namespace strata::python
