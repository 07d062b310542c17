// strata.Semaphore and strata.BoundedSemaphore.
#include "strata/sync/semaphore.h"

#include <nanobind/stl/string.h>

#include <vector>

#include "python/core/async.h"
#include "python/core/hot_methods.h"
#include "python/core/locks.h"
#include "python/core/shared_state.h"
#include "strata/sync/counting_semaphore.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

// The value that it is made with; None takes 1, or what one that exists was made with.
std::uint32_t initial_value(nb::handle value, std::uint32_t least, std::uint32_t most,
                            const char* remedy) {
  if (value.is_none()) return 1;
  const long long number = PyLong_AsLongLong(value.ptr());
  if (number == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
  if (number < least || number > most) {
    raise(Code::invalid_argument, "a semaphore of " + std::to_string(number) + ": it is " +
                                      std::to_string(least) + " to " + std::to_string(most) +
                                      remedy);
  }
  return static_cast<std::uint32_t>(number);
}

void check_same(nb::handle asked, std::uint32_t initial, const SharedObject& object) {
  if (asked.is_none() || nb::cast<std::uint32_t>(asked) == initial) return;
  raise(Code::invalid_argument, object.uri() + " was made with a value of " +
                                    std::to_string(initial) + ", not " +
                                    nb::cast<std::string>(nb::str(asked)));
}

std::string uri_or_none(nb::handle where, std::string_view type) {
  return where.is_none() ? std::string() : uri_of(where, type);
}

class PySemaphore {
 public:
  static constexpr const char* kType = "strata.Semaphore";

  explicit PySemaphore(SharedObject opened) : object_(std::move(opened)) {
    words_ =
        reinterpret_cast<CountingSemaphore*>(object_.payload(sizeof(CountingSemaphore)).data());
  }
  static PySemaphore open(nb::handle value, nb::handle where, nb::handle permissions) {
    const std::uint32_t initial = initial_value(value, 0, CountingSemaphore::kMaxValue, "");
    PySemaphore made(SharedObject::make(
        kType, uri_or_none(where, kType), sizeof(CountingSemaphore),
        [&](std::span<std::byte> bytes) -> Result<void> {
          new (bytes.data()) CountingSemaphore(initial);
          return {};
        },
        permissions));
    check_same(value, made.words_->initial(), made.object_);
    return made;
  }
  static PySemaphore* from_handle(const nb::bytes& handle) {
    return new PySemaphore(SharedObject::attach_handle(kType, handle));
  }

  SharedObject& object() { return object_; }
  bool acquire(Timeout timeout) {
    const SyncContext& context = object_.context();
    if (words_->acquire(context, Deadline::after_ms(0))) return true;
    if (timeout.is_now()) return false;
    return got(wait(timeout, [&](Deadline end) { return words_->acquire(context, end); }), object_);
  }
  void release() { release_many(1); }
  void release_many(std::uint32_t count) { take(words_->release(object_.context(), count)); }
  std::uint32_t value() { return words_->value(object_.context()); }

 private:
  SharedObject object_;
  CountingSemaphore* words_;
};

// The permits of this process, any of whose threads may release them.
class Permits {
 public:
  explicit Permits(SharedObject opened) : object_(std::move(opened)) {
    words_ = reinterpret_cast<Semaphore*>(object_.payload(sizeof(Semaphore)).data());
  }

  SharedObject& object() { return object_; }
  Semaphore& words() { return *words_; }

  bool acquire(Timeout timeout) {
    const SyncContext& context = this->context();
    held_.reserve(held_.size() + 1);  // what was acquired is never lost
    auto permit = words_->acquire(context, Deadline::after_ms(0));
    if (!permit && permit.error().code() == Code::timed_out && !timeout.is_now())
      permit = wait(timeout, [&](Deadline end) { return words_->acquire(context, end); });
    if (permit) {
      held_.push_back(*permit);
      return true;
    }
    if (permit.error().code() != Code::timed_out) raise(permit.error().in(object_.uri()));
    return false;
  }
  void release_many(std::uint32_t count) {
    const SyncContext& context = this->context();
    if (held_.size() < count) {
      raise(Code::invalid_argument, object_.uri() + ": released too often: this process holds " +
                                        std::to_string(held_.size()) + " of its " +
                                        std::to_string(permits()) +
                                        " permits; a Semaphore may be released by others");
    }
    for (; count > 0; --count) {
      take(words_->release(context, held_.back()));
      held_.pop_back();
    }
  }
  std::uint32_t value() { return words_->free_permits(context()); }
  // As it was made with; it is the first word of its bytes, as docs/format/sync.md has it.
  std::uint32_t permits() const { return *reinterpret_cast<const std::uint32_t*>(words_); }

 private:
  const SyncContext& context() {
    const SyncContext& context = object_.context();
    if (context.token() != token_) {
      // A forked child holds nothing of what its parent holds.
      held_.clear();
      token_ = context.token();
    }
    return context;
  }

  SharedObject object_;
  Semaphore* words_;
  std::vector<Semaphore::Permit> held_;
  std::uint32_t token_ = 0;
};

class PyBoundedSemaphore {
 public:
  static constexpr const char* kType = "strata.BoundedSemaphore";

  explicit PyBoundedSemaphore(std::shared_ptr<Permits> permits) : permits_(std::move(permits)) {}
  static PyBoundedSemaphore open(nb::handle value, nb::handle where, nb::handle permissions) {
    const std::uint32_t initial =
        initial_value(value, 1, Semaphore::kMaxPermits,
                      ", since it remembers who holds what; a Semaphore counts higher");
    PyBoundedSemaphore made(state_of<Permits>(SharedObject::make(
        kType, uri_or_none(where, kType), sizeof(Semaphore),
        [&](std::span<std::byte> bytes) -> Result<void> {
          new (bytes.data()) Semaphore(initial);
          return {};
        },
        permissions)));
    check_same(value, made.permits_->permits(), made.object());
    return made;
  }
  static PyBoundedSemaphore* from_handle(const nb::bytes& handle) {
    return new PyBoundedSemaphore(state_of_handle<Permits>(kType, handle));
  }

  SharedObject& object() { return permits_->object(); }
  bool acquire(Timeout timeout) { return permits_->acquire(timeout); }
  void release() { permits_->release_many(1); }
  void release_many(std::uint32_t count) { permits_->release_many(count); }
  std::uint32_t value() { return permits_->value(); }

 private:
  std::shared_ptr<Permits> permits_;
};

template <typename T>
void bind(nb::module_& module, const char* name, const char* doc) {
  auto type = bind_shared<T>(module, name, nb::type_slots(HotMethods<T>::slots()), doc);
  type.def(
          "__init__",
          [](T* self, nb::handle value, nb::handle where, nb::handle permissions) {
            new (self) T(T::open(value, where, permissions));
          },
          "value"_a = nb::none(), "where"_a = nb::none(), nb::kw_only(),
          "permissions"_a = nb::none(),
          nb::sig("def __init__(self, value: int | None = None, where: str | None = None, *,"
                  " permissions: int | None = None) -> None"))
      .def("_try_acquire", [](T& self) { return self.acquire(Timeout::now()); })
      .def(
          "get_value", [](T& self) { return self.value(); },
          "What is left to acquire, at this moment.")
      .def("__repr__", [name](T& self) {
        return "<strata." + std::string(name) + " " + self.object().uri() + ">";
      });
  bind_async_acquire(type);
}

}  // namespace

void bind_semaphores(nb::module_& module) {
  bind<PySemaphore>(
      module, "Semaphore",
      "A number that acquire() takes one from, waiting while it is 0, and release() adds to.\n\n"
      "Whoever releases need not be who acquired, so that it can signal from one process to\n"
      "another; what a killed process had acquired is lost. value is what it begins with, 1 where\n"
      "none is given.");
  bind<PyBoundedSemaphore>(
      module, "BoundedSemaphore",
      "So many permits, 1 to 62, that processes take and give back.\n\n"
      "A permit belongs to the process that acquired it, and comes back by itself when that\n"
      "process is killed or exits. ValueError for a release of what this process does not hold.");
}

}  // namespace strata::python
