// For a program that owns a pool alone: typed persistent pointers and transactions over
// libpmemobj, by the names that libpmemobj-cpp gave them.
//
//     struct Counter { pmem::p<std::uint64_t> hits; pmem::persistent_ptr<Node> first; };
//     STRATA_ASSIGN(auto pool, pmem::pool<Counter>::open(path, "counter", deadline));
//     STRATA_TRY(pmem::transaction::run(pool, [&]() -> Result<void> {
//       STRATA_ASSIGN(auto counter, pool.root());
//       counter->hits = counter->hits + 1;
//       return {};
//     }));
//
//   Threads:  a pool may be used by all threads of the one process that opened it; a transaction
//             belongs to its thread.
//   Lifetime: persistent pointers outlive the program; what they point to is mapped while the
//             pool is open.
//   Errors:   open: timed_out with the holder named; corrupt where libpmemobj cannot work with
//             the pool's heap, which a child tries first; exhausted where the file has holes and
//             the disk no room for them. A transaction whose function returns an error is undone
//             and returns that error; exhausted when the pool is full. p<T> outside of a
//             transaction is a fault of the program and aborts.
//   Cost:     that of libpmemobj: an empty transaction takes 0.3 µs, opening 20 ms.
//   Persists: what a transaction that returned success has changed, wholly.
// Objects are laid out as by libpmemobj-cpp: a persistent_ptr is libpmemobj's PMEMoid, a p<T> is
// its T, and the root is libpmemobj's root. In a Strata pool (layout "strata") that root is the
// directory of segments, so that the typed root is an object of its own, named in the directory.
// Types are trivially destructible: no resource of a process survives it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/os/real_os.h"

namespace strata::inline v0_1 {
class Os;  // hidden: declared outside of the pragma
}

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {
class ObjectPool;
}  // namespace strata::inline v0_1

namespace strata::inline v0_1::pmem {

namespace detail {
// libpmemobj's PMEMoid, whose header stays out of this one.
struct Oid {
  std::uint64_t pool_uuid_lo = 0;
  std::uint64_t offset_bytes = 0;
};
void* direct(const Oid& oid);
bool is_in_transaction();
// Saves the bytes for the case that the transaction is undone. Aborts outside of one where the
// address is within a pool; memory of other kinds needs nothing.
void snapshot(const void* address, std::size_t bytes);
Result<Oid> allocate(std::size_t bytes, std::uint64_t type);
Result<void> free(const Oid& oid);
// Opens it after what could end the process within libpmemobj has been looked for.
Result<std::shared_ptr<ObjectPool>> open_pool(Os& os, const std::string& path,
                                              const std::string& layout, Deadline deadline);
Result<std::shared_ptr<ObjectPool>> create_pool(Os& os, const std::string& path,
                                                const std::string& layout, std::uint64_t bytes,
                                                std::uint32_t mode);
Result<Oid> root_of(ObjectPool& pool, const std::string& layout, std::size_t bytes);
}  // namespace detail

// A T within a pool that saves itself before each change.
template <typename T>
class p {
  static_assert(std::is_trivially_copyable_v<T>, "a p<T> is saved byte by byte");

 public:
  p() = default;
  p(const T& value) : value_(value) {}  // NOLINT(google-explicit-constructor): as a T
  p(const p&) = default;
  p& operator=(const p& other) { return *this = other.value_; }
  p& operator=(const T& value) {
    detail::snapshot(&value_, sizeof value_);
    value_ = value;
    return *this;
  }
  operator const T&() const { return value_; }  // NOLINT(google-explicit-constructor): as a T
  const T& get_ro() const { return value_; }
  T& get_rw() {
    detail::snapshot(&value_, sizeof value_);
    return value_;
  }

 private:
  T value_{};
};

// A pointer that means the same in every run.
template <typename T>
class persistent_ptr {
 public:
  persistent_ptr() = default;
  persistent_ptr(std::nullptr_t) {}  // NOLINT(google-explicit-constructor): as a pointer
  explicit persistent_ptr(const detail::Oid& oid) : oid_(oid) {}
  persistent_ptr(const persistent_ptr&) = default;
  persistent_ptr& operator=(const persistent_ptr& other) {
    detail::snapshot(&oid_, sizeof oid_);
    oid_ = other.oid_;
    return *this;
  }

  T* get() const { return static_cast<T*>(detail::direct(oid_)); }
  T* operator->() const { return get(); }
  T& operator*() const { return *get(); }
  explicit operator bool() const { return oid_.offset_bytes != 0; }
  bool operator==(const persistent_ptr& other) const {
    return oid_.offset_bytes == other.oid_.offset_bytes &&
           (oid_.offset_bytes == 0 || oid_.pool_uuid_lo == other.oid_.pool_uuid_lo);
  }
  const detail::Oid& raw() const { return oid_; }

 private:
  detail::Oid oid_;
};
static_assert(sizeof(persistent_ptr<int>) == 16);

// What does not depend on the type of the root.
class pool_base {
 public:
  ObjectPool& objects() { return *pool_; }
  const std::string& layout() const { return layout_; }

 protected:
  pool_base(std::shared_ptr<ObjectPool> pool, std::string layout)
      : pool_(std::move(pool)), layout_(std::move(layout)) {}
  std::shared_ptr<ObjectPool> pool_;
  std::string layout_;
};

template <typename Root>
class pool : public pool_base {
 public:
  static Result<pool> open(const std::string& path, const std::string& layout,
                           Deadline deadline = Deadline::after_ms(10'000)) {
    return open(real_os(), path, layout, deadline);
  }
  static Result<pool> open(Os& os, const std::string& path, const std::string& layout,
                           Deadline deadline = Deadline::after_ms(10'000)) {
    STRATA_ASSIGN(auto opened, detail::open_pool(os, path, layout, deadline));
    return pool(std::move(opened), layout);
  }
  // Pools of layout "strata" are made by Pool::create.
  static Result<pool> create(const std::string& path, const std::string& layout,
                             std::uint64_t bytes, std::uint32_t mode = 0600) {
    return create(real_os(), path, layout, bytes, mode);
  }
  static Result<pool> create(Os& os, const std::string& path, const std::string& layout,
                             std::uint64_t bytes, std::uint32_t mode = 0600) {
    STRATA_ASSIGN(auto made, detail::create_pool(os, path, layout, bytes, mode));
    return pool(std::move(made), layout);
  }
  // Zeros at first. Errors: corrupt where the pool has a root of another size.
  Result<persistent_ptr<Root>> root() {
    STRATA_ASSIGN(const detail::Oid oid, detail::root_of(*pool_, layout_, sizeof(Root)));
    return persistent_ptr<Root>(oid);
  }

 private:
  using pool_base::pool_base;
};

class transaction {
 public:
  // Runs `body`; all that it changes through p<T>, persistent_ptr, make_persistent and
  // delete_persistent happens, or nothing. Within another transaction of the thread it is part
  // of that one. Exceptions must not leave `body`.
  static Result<void> run(pool_base& pool, const std::function<Result<void>()>& body);
  // Saves an object that is then changed directly.
  template <typename T>
  static void snapshot(const T* object, std::size_t count = 1) {
    detail::snapshot(object, count * sizeof(T));
  }
};

// Only within a transaction, which takes it back when it is undone.
template <typename T, typename... Arguments>
Result<persistent_ptr<T>> make_persistent(Arguments&&... arguments) {
  static_assert(std::is_trivially_destructible_v<T>);
  STRATA_ASSIGN(const detail::Oid oid, detail::allocate(sizeof(T), 0));
  new (detail::direct(oid)) T{std::forward<Arguments>(arguments)...};
  return persistent_ptr<T>(oid);
}

template <typename T>
Result<void> delete_persistent(persistent_ptr<T> object) {
  return detail::free(object.raw());
}

}  // namespace strata::inline v0_1::pmem
#pragma GCC visibility pop
