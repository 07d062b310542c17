// strata.RWLock, and the two sides of it that are locked.
#include "strata/sync/rw_lock.h"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <vector>

#include "python/core/async.h"
#include "python/core/hot_methods.h"
#include "python/core/locks.h"
#include "python/core/shared_state.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

// The holds of this process, and which of its threads has them.
class RwState {
 public:
  static constexpr const char* kType = "strata.RWLock";

  explicit RwState(SharedObject opened) : object_(std::move(opened)) {
    words_ = reinterpret_cast<RwLock*>(object_.payload(sizeof(RwLock)).data());
  }

  SharedObject& object() { return object_; }

  // Errors: StateError where this thread would wait for itself.
  bool read(Timeout timeout) {
    if (writes()) self_wait("a thread that writes cannot read as well");
    return try_read() || (!timeout.is_now() && wait_to_read(timeout));
  }
  bool try_read() { return take_read(words_->lock_shared(context(), Deadline::after_ms(0))); }
  void end_read() {
    const SyncContext& context = this->context();
    const unsigned long me = PyThread_get_thread_ident();
    const auto mine = std::find_if(reads_.rbegin(), reads_.rend(),
                                   [&](const Read& read) { return read.thread == me; });
    if (mine == reads_.rend()) raise(Code::failed_precondition, text("this thread does not read"));
    const RwLock::ReadHold hold = mine->hold;
    reads_.erase(std::next(mine).base());
    take(words_->unlock_shared(context, hold));
  }

  bool write(Timeout timeout) {
    if (writes()) self_wait("a thread that writes cannot write again");
    if (reads()) self_wait("a reader cannot become a writer: end the read first");
    return try_write() || (!timeout.is_now() && wait_to_write(timeout));
  }
  bool try_write() { return take_write(words_->lock(context(), Deadline::after_ms(0))); }
  void end_write() {
    if (!writes()) raise(Code::failed_precondition, text("this thread does not write"));
    writer_ = 0;
    take(words_->unlock(context()));
  }

  bool is_recovered() { return words_->writer().look(context()).is_unrepaired; }
  void mark_repaired() { take(words_->mark_repaired(context())); }
  std::uint32_t readers() { return words_->readers(context()); }
  bool is_written() { return words_->writer().look(context()).token != 0; }
  nb::object holder() {
    const SyncContext& context = this->context();
    const std::optional<RobustMutex::HolderNote> note = words_->writer().holder(context);
    if (!note) return nb::none();
    const std::string text = without_gil([&] { return context.describe(note->token); });
    return nb::make_tuple(note->pid, text);
  }

 private:
  struct Read {
    unsigned long thread;
    RwLock::ReadHold hold;
  };

  const SyncContext& context() {
    const SyncContext& context = object_.context();
    if (context.token() != token_) {
      // A forked child holds nothing of what its parent holds.
      reads_.clear();
      writer_ = 0;
      token_ = context.token();
    }
    return context;
  }
  bool writes() {
    return words_->writer().is_held_by(context()) && writer_ == PyThread_get_thread_ident();
  }
  bool reads() const {
    const unsigned long me = PyThread_get_thread_ident();
    return std::any_of(reads_.begin(), reads_.end(),
                       [&](const Read& read) { return read.thread == me; });
  }

  bool wait_to_read(Timeout timeout) {
    const SyncContext& context = this->context();
    return take_read(
        wait(timeout, [&](Deadline end) { return words_->lock_shared(context, end); }));
  }
  bool take_read(const Result<RwLock::ReadHold>& hold) {
    if (!hold) return failed(hold.error());
    reads_.push_back({PyThread_get_thread_ident(), *hold});
    return true;
  }
  bool wait_to_write(Timeout timeout) {
    const SyncContext& context = this->context();
    return take_write(wait(timeout, [&](Deadline end) { return words_->lock(context, end); }));
  }
  bool take_write(const Result<Acquired>& how) {
    if (!how) return failed(how.error());
    writer_ = PyThread_get_thread_ident();
    return true;
  }

  bool failed(const Status& status) {
    if (status.code() == Code::timed_out) return false;
    if (status.code() != Code::not_ready) raise(status.in(object_.uri()));
    raise(
        Code::failed_precondition,
        text("a process died while it wrote, and what it wrote may be half done: take write_lock, "
             "repair it, and call repaired()"));
  }
  std::string text(const char* what) { return object_.uri() + ": " + what; }
  [[noreturn]] void self_wait(const char* why) { raise(Code::failed_precondition, text(why)); }

  SharedObject object_;
  RwLock* words_;
  std::vector<Read> reads_;
  unsigned long writer_ = 0;
  std::uint32_t token_ = 0;
};

class PyRWLock {
 public:
  explicit PyRWLock(std::shared_ptr<RwState> state) : state_(std::move(state)) {}
  static PyRWLock* from_handle(const nb::bytes& handle) {
    return new PyRWLock(state_of_handle<RwState>(RwState::kType, handle));
  }
  SharedObject& object() { return state_->object(); }
  const std::shared_ptr<RwState>& state() const { return state_; }

 private:
  std::shared_ptr<RwState> state_;
};

struct PyReadLock {
  std::shared_ptr<RwState> state;
  bool acquire(Timeout timeout) { return state->read(timeout); }
  bool try_acquire_alone() { return state->try_read(); }
  void release() { state->end_read(); }
};

struct PyWriteLock {
  std::shared_ptr<RwState> state;
  bool acquire(Timeout timeout) { return state->write(timeout); }
  bool try_acquire_alone() { return state->try_write(); }
  void release() { state->end_write(); }
};

template <typename Side>
void bind_side(nb::module_& module, const char* name, const char* attribute, const char* doc) {
  nb::class_<Side> type(module, name, nb::type_slots(HotMethods<Side>::slots()),
                        nb::is_weak_referenceable(), doc);
  type.def("_try_acquire", &Side::try_acquire_alone)
      .def("__repr__",
           [attribute](Side& self) {
             return "<strata.RWLock " + self.state->object().uri() + "." + attribute + ">";
           })
      .def("__reduce_ex__", [attribute](Side& self, int) {
        return nb::make_tuple(nb::module_::import_("builtins").attr("getattr"),
                              nb::make_tuple(PyRWLock(self.state), attribute));
      });
  bind_async_acquire(type);
}

}  // namespace

void bind_rw_lock(nb::module_& module) {
  bind_side<PyReadLock>(module, "_ReadLock", "read_lock",
                        "The readers' side of an RWLock, a lock like any other.");
  bind_side<PyWriteLock>(module, "_WriteLock", "write_lock",
                         "The writers' side of an RWLock, a lock like any other.");
  bind_shared<PyRWLock>(
      module, "RWLock",
      "Many read, or one writes:\n\n"
      "    with lock.read_lock: ...\n"
      "    with lock.write_lock: ...\n\n"
      "New readers wait from when a writer waits; at most 112 read at a time. A killed reader is\n"
      "forgotten. After a killed writer, readers get a StateError until somebody has taken\n"
      "write_lock, repaired what it guards, and called repaired().")
      .def(
          "__init__",
          [](PyRWLock* self, nb::handle where, nb::handle permissions) {
            const std::string uri = where.is_none() ? "" : uri_of(where, RwState::kType);
            new (self) PyRWLock(state_of<RwState>(
                SharedObject::make(RwState::kType, uri, sizeof(RwLock), {}, permissions)));
          },
          "where"_a = nb::none(), nb::kw_only(), "permissions"_a = nb::none(),
          nb::sig("def __init__(self, where: str | None = None, *,"
                  " permissions: int | None = None) -> None"))
      .def_prop_ro(
          "read_lock", [](PyRWLock& self) { return PyReadLock{self.state()}; },
          "For those who only look: with, acquire(), release(), acquire_async().")
      .def_prop_ro(
          "write_lock", [](PyRWLock& self) { return PyWriteLock{self.state()}; },
          "For the one who changes: with, acquire(), release(), acquire_async().")
      .def_prop_ro(
          "readers", [](PyRWLock& self) { return self.state()->readers(); },
          "How many read at this moment; one who was killed counts until a writer waits for it.")
      .def_prop_ro(
          "written", [](PyRWLock& self) { return self.state()->is_written(); },
          "Whether somebody writes, or waits for the readers to end.")
      .def_prop_ro(
          "recovered", [](PyRWLock& self) { return self.state()->is_recovered(); },
          "True from when write_lock was taken from a writer that died, until repaired().")
      .def(
          "repaired", [](PyRWLock& self) { self.state()->mark_repaired(); },
          "What it guards is whole again. Raises StateError where this process does not write.")
      .def(
          "holder", [](PyRWLock& self) { return self.state()->holder(); },
          nb::sig("def holder(self) -> tuple[int, str] | None"),
          "The pid of who writes and a text that describes it; None where nobody does.")
      .def("__repr__",
           [](PyRWLock& self) { return "<strata.RWLock " + self.object().uri() + ">"; });
}

}  // namespace strata::python
