#include "python/core/queue.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <bit>
#include <cstring>

#include "python/core/held_buffer.h"

namespace strata::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way

namespace {

// Where the other threads of Python had better go on meanwhile.
constexpr std::size_t kLongCopyBytes = 256 * 1024;

void copy(void* to, const void* from, std::size_t bytes) {
  if (bytes >= kLongCopyBytes) {
    without_gil([&] { std::memcpy(to, from, bytes); });
  } else if (bytes > 0) {
    std::memcpy(to, from, bytes);
  }
}

// Of a module of the standard library, looked up once and kept for good.
class Imported {
 public:
  constexpr Imported(const char* module, const char* name) : module_(module), name_(name) {}
  nb::handle get() {
    if (object_ == nullptr) {
      nb::object found = nb::module_::import_(module_).attr(name_);
      object_ = found.release().ptr();
    }
    return object_;
  }

 private:
  const char* module_;
  const char* name_;
  PyObject* object_ = nullptr;
};
Imported full("queue", "Full");
Imported empty("queue", "Empty");
Imported dumps("pickle", "dumps");
Imported loads("pickle", "loads");

// Set, and left to the interpreter: an exception of C++ on the way takes microseconds, and full and
// empty are no accidents.
std::nullopt_t nothing(Imported& kind) {
  PyErr_SetNone(kind.get().ptr());
  return std::nullopt;
}

[[noreturn]] void raise_type_error(const char* format, nb::handle object) {
  PyErr_Format(PyExc_TypeError, format, Py_TYPE(object.ptr()));
  throw nb::python_error();
}

Timeout timeout_of(bool block, nb::handle timeout) {
  if (!block) return Timeout::now();
  if (!timeout.is_none() && PyFloat_Check(timeout.ptr()) == 0 && PyLong_Check(timeout.ptr()) == 0)
    raise_type_error("timeout: seconds or None, not %R", timeout);
  return Timeout::from(timeout);
}

// Looks once with the GIL held; what has to wait does so on a copy of the ring, since a ring is of
// one thread.
template <typename Attempt>
auto look_then_wait(MpmcRing& ring, Timeout timeout, Attempt&& attempt) {
  auto result = attempt(ring, Deadline::after_ns(0));
  if (result || timeout.is_now() || result.error().code() != Code::timed_out) return result;
  MpmcRing mine = ring;
  return wait(timeout, [&](Deadline deadline) { return attempt(mine, deadline); });
}

std::string not_pickling(const std::string& uri, bool has_pickles) {
  return has_pickles
             ? uri +
                   " is a queue of pickles: whoever reads them runs what their writers say. "
                   "Where you trust all of them, say pickle=True"
             : uri + " is a queue of bytes: say pickle=False, and encode what you put";
}

SharedObject made(const std::string& uri, const RingOptions& options, bool has_pickles,
                  nb::handle permissions) {
  const std::string_view type = has_pickles ? Queue::kPickleType : Queue::kType;
  const std::uint64_t bytes = take(mpmc_ring_bytes(options));
  try {
    return SharedObject::make(
        type, uri, bytes,
        [&](std::span<std::byte> payload) { return format_mpmc_ring(payload, options); },
        permissions);
  } catch (nb::python_error& error) {
    if (uri.empty() || !error.matches(PyExc_ValueError)) throw;
    const Result<SegmentStat> stat = catalog_for(uri).stat(uri);
    const std::string_view other = has_pickles ? Queue::kType : Queue::kPickleType;
    if (!stat || !stat->content || stat->content->type != other) throw;
    raise(Code::invalid_argument, not_pickling(uri, !has_pickles));
  }
}

}  // namespace

Queue::Queue(SharedObject object) : object_(std::move(object)) {
  has_pickles_ = take(object_->segment().content()).type == kPickleType;
  ring();  // a ring that is none is found now, not by the first message
}

Queue* Queue::from_handle(const nb::bytes& handle) {
  Segment segment = attach_by_handle(handle, "r+", 1.0);
  const std::string type = take(segment.content()).type;
  if (type != kPickleType) check_type(segment, kType);
  return new Queue(SharedObject::in(segment));
}

SharedObject& Queue::object() {
  if (!object_) raise(Code::invalid_argument, "the queue is closed in this process");
  return *object_;
}

MpmcRing& Queue::ring() {
  SharedObject& shared = object();
  const SyncContext& context = shared.context();
  if (!ring_ || token_ != context.token()) {
    // Assigned by making it anew: a ring holds what cannot be assigned to.
    ring_.reset();
    ring_.emplace(take(MpmcRing::open(shared.payload(), context)));
    token_ = context.token();
  }
  return *ring_;
}

void Queue::close() {
  object_.reset();
  if (held_ == 0) ring_.reset();
}

void Queue::let_go() {
  if (--held_ == 0 && !object_) ring_.reset();
}

std::optional<MpmcRing::Loan> Queue::loan(Timeout timeout) {
  auto loan = look_then_wait(ring(), timeout,
                             [](MpmcRing& ring, Deadline deadline) { return ring.loan(deadline); });
  if (!loan && loan.error().code() == Code::timed_out) return nothing(full);
  return take(std::move(loan));
}

std::optional<MpmcRing::Message> Queue::receive(Timeout timeout) {
  auto message = look_then_wait(
      ring(), timeout, [](MpmcRing& ring, Deadline deadline) { return ring.receive(deadline); });
  if (!message && message.error().code() == Code::timed_out) return nothing(empty);
  return take(std::move(message));
}

// A forked child's ring says that the slot is not the child's, and leaves it alone.
namespace {

// A call during which another thread may close the queue.
class Using {
 public:
  explicit Using(Queue& queue) : queue_(queue) { queue.hold(); }
  Using(const Using&) = delete;
  Using& operator=(const Using&) = delete;
  ~Using() { queue_.let_go(); }

 private:
  Queue& queue_;
};

}  // namespace

Result<void> Queue::publish(MpmcRing::Loan& loan, std::size_t bytes) {
  return ring_->publish(loan, bytes);
}
void Queue::abandon(MpmcRing::Loan& loan) {
  if (ring_) (void)ring_->abandon(loan);
}
void Queue::release(MpmcRing::Message& message) {
  if (ring_) (void)ring_->release(message);
}

nb::object Queue::put(nb::handle object, Timeout timeout) {
  nb::object pickled;
  if (has_pickles_) {
    pickled = dumps.get()(object, -1);
    object = pickled;
  } else if (PyObject_CheckBuffer(object.ptr()) == 0) {
    raise_type_error(
        "put: bytes, or what has the buffer protocol, not %R: encode it, or make the queue with "
        "pickle=True, where every process that writes to it is trusted",
        object);
  }
  const HeldBuffer message(object);
  const std::size_t bytes = message.bytes().size();
  const std::size_t most = ring().max_message_bytes();
  const Using use(*this);
  if (bytes > most) {
    raise(Code::invalid_argument,
          "put: a message of " + std::to_string(bytes) + " bytes, and a slot of " +
              this->object().uri() + " holds " + std::to_string(most) +
              ": make the queue with slot_bytes=" + std::to_string(std::bit_ceil(bytes)) +
              ", or put the name of a segment that holds it");
  }
  std::optional<MpmcRing::Loan> slot = loan(timeout);
  if (!slot) return {};
  copy(slot->bytes.data(), message.bytes().data(), bytes);
  take(ring_->publish(*slot, bytes));
  return nb::none();
}

nb::object Queue::get(Timeout timeout) {
  const Using use(*this);
  std::optional<MpmcRing::Message> received = receive(timeout);
  if (!received) return {};
  MpmcRing::Message& message = *received;
  const auto bytes = static_cast<Py_ssize_t>(message.bytes.size());
  const auto* const from = reinterpret_cast<const char*>(message.bytes.data());
  if (has_pickles_) {
    PyObject* const copied = PyBytes_FromStringAndSize(from, bytes);
    release(message);
    if (copied == nullptr) throw nb::python_error();
    return loads.get()(nb::steal(copied));
  }
  nb::object got = nb::steal(PyBytes_FromStringAndSize(nullptr, bytes));
  if (got.is_valid()) copy(PyBytes_AsString(got.ptr()), from, message.bytes.size());
  release(message);
  if (!got.is_valid()) throw nb::python_error();
  return got;
}

namespace {

// What Slot and Message have in common: bytes of a slot that are lent out as buffers, and that go
// back with the last of these.
class HeldSlot {
 public:
  HeldSlot(const HeldSlot&) = delete;
  HeldSlot& operator=(const HeldSlot&) = delete;
  virtual ~HeldSlot() = default;

  bool is_held() const { return is_held_; }
  nb::object view(nb::handle self) {
    check_held();
    nb::object view = view_.is_valid() ? view_() : nb::none();
    if (!view.is_none()) return view;
    view = nb::steal(PyMemoryView_FromObject(self.ptr()));
    if (!view.is_valid()) throw nb::python_error();
    view_ = nb::steal(PyWeakref_NewRef(view.ptr(), nullptr));
    return view;
  }
  // Errors: ValueError.
  void check_held() const {
    if (is_held_) return;
    PyErr_SetString(PyExc_ValueError, "the slot has been given back");
    throw nb::python_error();
  }

  int lend(nb::handle self, Py_buffer* view, int flags) {
    view->obj = nullptr;
    if (!is_held_) {
      PyErr_SetString(PyExc_BufferError, "the slot has been given back");
      return -1;
    }
    const Lent lent = bytes();
    if (PyBuffer_FillInfo(view, self.ptr(), const_cast<std::byte*>(lent.bytes.data()),
                          static_cast<Py_ssize_t>(lent.bytes.size()), lent.is_writable ? 0 : 1,
                          flags) != 0) {
      return -1;
    }
    ++lent_;
    return 0;
  }
  void take_back() {
    if (--lent_ == 0 && !is_held_) give_back();
  }

 protected:
  struct Lent {
    std::span<const std::byte> bytes;
    bool is_writable;
  };
  explicit HeldSlot(nb::object queue) : queue_(std::move(queue)) { this->queue().hold(); }
  Queue& queue() const { return *nb::inst_ptr<Queue>(queue_); }
  virtual Lent bytes() const = 0;
  virtual void give_back() = 0;

  // Nobody gets a view any more. Whether there are none, so that the slot may go.
  bool end() {
    if (view_.is_valid()) {
      const nb::object view = view_();
      // Where an array or a slice still looks through it, it cannot be released: lent_ tells.
      PyObject* const done =
          view.is_none() ? nullptr : PyObject_CallMethod(view.ptr(), "release", nullptr);
      PyErr_Clear();
      Py_XDECREF(done);
      view_.reset();
    }
    is_held_ = false;  // last: from now on, the last view to go gives the slot back
    return lent_ == 0;
  }

 private:
  nb::object queue_;
  nb::object view_;  // a weak reference: the view itself refers to us
  std::uint32_t lent_ = 0;
  bool is_held_ = true;
};

class Slot final : public HeldSlot {
 public:
  Slot(nb::object queue, const MpmcRing::Loan& loan)
      : HeldSlot(std::move(queue)), loan_(loan), nbytes_(loan.bytes.size()) {}
  ~Slot() override {
    if (is_held()) give_back();
  }

  std::size_t nbytes() const { return nbytes_; }
  void set_nbytes(std::int64_t nbytes) {
    check_held();
    if (nbytes < 0 || static_cast<std::size_t>(nbytes) > loan_.bytes.size()) {
      raise(Code::invalid_argument, "nbytes: " + std::to_string(nbytes) + " of a slot of " +
                                        std::to_string(loan_.bytes.size()) + " bytes");
    }
    nbytes_ = static_cast<std::size_t>(nbytes);
  }
  void publish() {
    check_held();
    if (!end()) {
      PyErr_SetString(PyExc_BufferError,
                      "not published: there are views of the slot still (an array, a slice), "
                      "through which the message could change after it; del them first");
      throw nb::python_error();
    }
    const Result<void> published = queue().publish(loan_, nbytes_);
    queue().let_go();
    take(published);
  }
  void abandon() {
    if (is_held() && end()) give_back();
  }

 protected:
  Lent bytes() const override { return {loan_.bytes, true}; }
  void give_back() override {
    queue().abandon(loan_);
    queue().let_go();
  }

 private:
  MpmcRing::Loan loan_;
  std::size_t nbytes_;
};

class Message final : public HeldSlot {
 public:
  Message(nb::object queue, const MpmcRing::Message& message)
      : HeldSlot(std::move(queue)), message_(message), nbytes_(message.bytes.size()) {}
  ~Message() override {
    if (is_held()) give_back();
  }

  std::size_t nbytes() const { return nbytes_; }
  void release() {
    if (is_held() && end()) give_back();
  }

 protected:
  Lent bytes() const override { return {message_.bytes, false}; }
  void give_back() override {
    queue().release(message_);
    queue().let_go();
  }

 private:
  MpmcRing::Message message_;
  std::size_t nbytes_;
};

template <typename T>
struct BufferSlots {
  static int get(PyObject* self, Py_buffer* view, int flags) noexcept {
    if (nb::inst_ready(self)) return nb::inst_ptr<T>(self)->lend(self, view, flags);
    view->obj = nullptr;
    PyErr_SetString(PyExc_BufferError, "slots are made by a queue alone");
    return -1;
  }
  static void release(PyObject* self, Py_buffer*) noexcept { nb::inst_ptr<T>(self)->take_back(); }
  static inline PyType_Slot slots[] = {
      {Py_bf_getbuffer, reinterpret_cast<void*>(get)},
      {Py_bf_releasebuffer, reinterpret_cast<void*>(release)},
      {0, nullptr},
  };
};

void check_bytes(const Queue& queue) {
  if (!queue.has_pickles()) return;
  PyErr_SetString(PyExc_TypeError,
                  "slots are of queues of bytes: this one has pickles, use put() and get()");
  throw nb::python_error();
}

void bind_slots(nb::module_& module) {
  nb::class_<Slot>(module, "Slot", nb::type_slots(BufferSlots<Slot>::slots),
                   "A slot of a Queue to write a message into, made by Queue.loan().\n\n"
                   "Published at the end of its with statement; given back unpublished where that\n"
                   "ends by an exception. One thread at a time.")
      .def_prop_ro(
          "view", [](nb::object self) { return nb::cast<Slot&>(self).view(self); },
          "All of the slot as a writable memoryview of bytes; released at the end.\n"
          "What it holds at first are bytes of some older message.")
      .def_prop_rw("nbytes", &Slot::nbytes, &Slot::set_nbytes,
                   "How much of it is the message; all of it, unless set.")
      .def("publish", &Slot::publish,
           "What the end of the with statement does. Raises BufferError, and publishes nothing,\n"
           "where an array or a slice of the view is still alive, that could change the message.")
      .def("abandon", &Slot::abandon, "Gives it back unpublished.")
      .def("__len__", &Slot::nbytes)
      .def("__enter__", [](nb::object self) { return self; })
      .def(
          "__exit__",
          [](Slot& self, nb::handle type, nb::handle, nb::handle) {
            if (!self.is_held()) return;
            type.is_none() ? self.publish() : self.abandon();
          },
          nb::arg().none(), nb::arg().none(), nb::arg().none());

  nb::class_<Message>(module, "Message", nb::type_slots(BufferSlots<Message>::slots),
                      "A message of a Queue where it lies, made by Queue.receive().\n\n"
                      "Its slot goes back at the end of its with statement; where an array or a "
                      "slice of\nits view is still alive, with the last of these: until then it "
                      "stays this message.")
      .def_prop_ro(
          "view", [](nb::object self) { return nb::cast<Message&>(self).view(self); },
          "Its bytes as a read-only memoryview, released at the end.")
      .def_prop_ro("nbytes", &Message::nbytes, "How long it is.")
      .def("release", &Message::release, "What the end of the with statement does.")
      .def("__len__", &Message::nbytes)
      .def("__enter__", [](nb::object self) { return self; })
      .def(
          "__exit__", [](Message& self, nb::handle, nb::handle, nb::handle) { self.release(); },
          nb::arg().none(), nb::arg().none(), nb::arg().none());
}

std::string representation(Queue& self) {
  MpmcRing& ring = self.ring();
  return "<strata.Queue " + self.object().uri() + " " + std::to_string(ring.size()) + " of " +
         std::to_string(ring.slots()) + (self.has_pickles() ? " pickles" : " messages") +
         " of up to " + std::to_string(ring.max_message_bytes()) + " bytes>";
}

RingOptions ring_options(std::int64_t slots, std::int64_t slot_bytes) {
  if (slots < 1 || slots > kMaxRingSlots) {
    raise(Code::invalid_argument,
          "slots: 1 to " + std::to_string(kMaxRingSlots) + ", not " + std::to_string(slots));
  }
  if (slot_bytes < 1 || slot_bytes > kMaxRingMessageBytes) {
    raise(Code::invalid_argument, "slot_bytes: 1 to " + std::to_string(kMaxRingMessageBytes) +
                                      ", not " + std::to_string(slot_bytes));
  }
  const auto asked = static_cast<std::uint32_t>(slots);
  return {.slots = std::max(2U, std::bit_ceil(asked)),
          .message_bytes = static_cast<std::uint32_t>(slot_bytes)};
}

void construct(Queue* self, const std::optional<std::string>& uri,
               std::optional<std::int64_t> slots, std::optional<std::int64_t> slot_bytes,
               bool pickle, nb::handle permissions) {
  const RingOptions options = ring_options(slots.value_or(64), slot_bytes.value_or(4096));
  new (self) Queue(made(uri.value_or(""), options, pickle, permissions));
  const MpmcRing& ring = self->ring();
  const bool is_less = (slots && ring.slots() < options.slots) ||
                       (slot_bytes && ring.max_message_bytes() < options.message_bytes);
  if (!is_less) return;
  const std::string there = std::to_string(ring.slots()) + " slots of " +
                            std::to_string(ring.max_message_bytes()) + " bytes";
  const std::string name = self->object().uri();
  self->~Queue();
  raise(Code::invalid_argument, name + " is there already, with " + there +
                                    ", which is less than was asked for: leave " +
                                    "slots and slot_bytes away, or remove it first");
}

constexpr const char* kDoc =
    "Queue(uri=None, *, slots=64, slot_bytes=4096, pickle=False, permissions=None)\n\n"
    "Messages between any number of producers and consumers, in the order of their publication.\n\n"
    "uri: \"shm:NAME\" is made, or attached to where it exists; without, it has no name that "
    "others\n"
    "    could guess, and is gone with the last process that has it: hand it over by pickling.\n"
    "slots: how many messages it holds, rounded up to a power of two.\n"
    "slot_bytes: the longest message, in bytes.\n"
    "pickle: whether any object may be put, by pickle. A message then runs what its writer says, "
    "in\n"
    "    every process that reads it: only where all writers are trusted. All say it, or nobody.\n"
    "permissions: of a new one, 0o600 by default.\n\n"
    "A process that is killed blocks nobody: what it had published stays, and what it held comes\n"
    "back. A message that a killed consumer had received, and not yet released, is lost with it.\n"
    "Threads may share one. Waits let other threads run and end at Ctrl-C.\n"
    "Raises ValueError where the name is of something else, or holds less than was asked for.";

}  // namespace

void bind_queue(nb::module_& module) {
  bind_slots(module);
  bind_shared<Queue>(module, "Queue", kDoc)
      .def("__init__", &construct, "uri"_a = nb::none(), nb::kw_only(), "slots"_a = nb::none(),
           "slot_bytes"_a = nb::none(), "pickle"_a = false, "permissions"_a = nb::none(),
           nb::sig("def __init__(self, uri: str | None = None, *, slots: int | None = None,"
                   " slot_bytes: int | None = None, pickle: bool = False,"
                   " permissions: int | None = None) -> None"))
      // Alone first: without keywords to look for, it is called faster.
      .def(
          "put",
          [](Queue& self, nb::handle message) { return self.put(message, Timeout::for_ever()); },
          nb::sig("def put(self, message: object, /) -> None"))
      .def(
          "put",
          [](Queue& self, nb::handle message, bool block, nb::handle timeout) {
            return self.put(message, timeout_of(block, timeout));
          },
          "message"_a.none(), "block"_a = true, "timeout"_a = nb::none(),
          nb::sig("def put(self, message: object, block: bool = True,"
                  " timeout: float | None = None) -> None"),
          "Copies bytes (or what has the buffer protocol) into a slot and publishes it.\n\n"
          "timeout: seconds to wait for a free slot; None is for ever, 0 looks once.\n"
          "Raises queue.Full; ValueError for what is longer than slot_bytes; TypeError.")
      .def(
          "put_nowait",
          [](Queue& self, nb::handle message) { return self.put(message, Timeout::now()); },
          "message"_a.none(), nb::sig("def put_nowait(self, message: object) -> None"),
          "put(message, block=False).")
      .def(
          "get", [](Queue& self) { return self.get(Timeout::for_ever()); },
          nb::sig("def get(self) -> typing.Any"))
      .def(
          "get",
          [](Queue& self, bool block, nb::handle timeout) {
            return self.get(timeout_of(block, timeout));
          },
          "block"_a = true, "timeout"_a = nb::none(),
          nb::sig("def get(self, block: bool = True, timeout: float | None = None) -> typing.Any"),
          "Takes the oldest message: a copy as bytes, or the object where pickle is on.\n\n"
          "timeout: seconds to wait for one; None is for ever, 0 looks once. Raises queue.Empty.")
      .def(
          "get_nowait", [](Queue& self) { return self.get(Timeout::now()); },
          nb::sig("def get_nowait(self) -> typing.Any"), "get(block=False).")
      .def(
          "loan",
          [](nb::object self, nb::handle timeout) {
            auto& queue = nb::cast<Queue&>(self);
            check_bytes(queue);
            const Using use(queue);
            const auto loan = queue.loan(timeout_of(true, timeout));
            if (!loan) return nb::object();
            return nb::cast(new Slot(std::move(self), *loan), nb::rv_policy::take_ownership);
          },
          "timeout"_a = nb::none(), nb::sig("def loan(self, timeout: float | None = None) -> Slot"),
          "A slot to write a message into, with no copy:\n\n"
          "    with queue.loan() as slot:\n"
          "        slot.nbytes = file.readinto(slot.view)\n\n"
          "Published at the end; given back unpublished at an exception. Raises queue.Full.")
      .def(
          "receive",
          [](nb::object self, nb::handle timeout) {
            auto& queue = nb::cast<Queue&>(self);
            check_bytes(queue);
            const Using use(queue);
            const auto message = queue.receive(timeout_of(true, timeout));
            if (!message) return nb::object();
            return nb::cast(new Message(std::move(self), *message), nb::rv_policy::take_ownership);
          },
          "timeout"_a = nb::none(),
          nb::sig("def receive(self, timeout: float | None = None) -> Message"),
          "The oldest message where it lies, with no copy:\n\n"
          "    with queue.receive() as message:\n"
          "        total = sum(message.view)\n\n"
          "Its slot goes back at the end. Raises queue.Empty.")
      .def(
          "put_async",
          [](nb::object self, nb::handle message, nb::handle timeout) {
            return nb::module_::import_("strata._async_queue").attr("put")(self, message, timeout);
          },
          "message"_a.none(), "timeout"_a = nb::none(),
          nb::sig("def put_async(self, message: object, timeout: float | None = None)"
                  " -> collections.abc.Awaitable[None]"),
          "put() to await. Where that is cancelled, nothing was put. Raises queue.Full.")
      .def(
          "get_async",
          [](nb::object self, nb::handle timeout) {
            return nb::module_::import_("strata._async_queue").attr("get")(self, timeout);
          },
          "timeout"_a = nb::none(),
          nb::sig("def get_async(self, timeout: float | None = None)"
                  " -> collections.abc.Awaitable[typing.Any]"),
          "get() to await. Where that is cancelled, no message was taken. Raises queue.Empty.")
      .def(
          "qsize", [](Queue& self) { return self.ring().size(); },
          "How many messages wait: as of some moment that has passed.")
      .def(
          "empty", [](Queue& self) { return self.ring().size() == 0; },
          "Whether no message waits: as of some moment that has passed.")
      .def(
          "full", [](Queue& self) { return self.ring().size() == self.ring().slots(); },
          "Whether each slot has a message that waits. put() may have to wait sooner: for slots\n"
          "that somebody is writing to or reading from.")
      .def_prop_ro(
          "maxsize", [](Queue& self) { return self.ring().slots(); }, "How many messages it holds.")
      .def_prop_ro(
          "slot_bytes", [](Queue& self) { return self.ring().max_message_bytes(); },
          "The longest message, in bytes.")
      .def_prop_ro("pickle", &Queue::has_pickles, "Whether its messages are pickles.")
      .def("close", &Queue::close,
           "Detaches this process. Slots and messages that it holds stay until they are released.")
      .def(
          "join_thread", [](Queue&) {}, "Does nothing: there is no thread that feeds the queue.")
      .def(
          "cancel_join_thread", [](Queue&) {}, "Does nothing, as join_thread().")
      .def("__repr__", &representation);
}

}  // namespace strata::python
