// What a primitive of Python (Lock, Queue, Counter, …) stands on: a segment of its own, whose
// header says what it is, or a segment of somebody else that it lies in.
//   Threads:  under the GIL; what context() gave may be used without.
//   Lifetime: the segment is mapped as long as the object is there. Without a name, it is gone when
//             the last process that has it closes, exits or is killed.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "python/core/catalog.h"
#include "python/core/errors.h"
#include "strata/segment/segment.h"
#include "strata/sync/sync_context.h"

namespace strata::python {

class SharedObject {
 public:
  // Puts the first bytes into a payload of zeros that nobody else can see yet.
  using Format = std::function<Result<void>(std::span<std::byte> payload)>;

  // Of any number of processes that name the same `uri` one creates it. An empty `uri` always
  // creates, with a name that nobody guesses. `type` as "strata.Lock".
  // Errors: ValueError where the name is of something else, with what it is.
  static SharedObject make(std::string_view type, const std::string& uri, std::uint64_t bytes,
                           const Format& format = {}, nb::handle permissions = nb::none());
  // What handle() of another process gave. Errors: as make(); NotFoundError.
  static SharedObject attach_handle(std::string_view type, const nb::bytes& handle);
  // Over somebody's segment, whatever its type.
  static SharedObject in(const Segment& segment);

  Segment& segment() { return segment_; }
  std::string uri() const { return segment_.uri().to_string(); }
  std::string name() const { return segment_.uri().name; }
  // The payload, at least `bytes` of it, aligned to 4096.
  // Errors: CorruptError where it is smaller; AccessError where it was attached read-only.
  std::span<std::byte> payload(std::uint64_t bytes = 0);

  // This process as a participant: joined at the first call, and anew in a forked child.
  // Errors: AccessError for what may only be read; StateError once sealed.
  const SyncContext& context() {
    if (context_ && context_->token() != 0) return *context_;
    return join();
  }

  // As context(), of what has joined already in this process.
  std::optional<SyncContext> joined() const {
    return context_ && context_->token() != 0 ? context_ : std::nullopt;
  }

  nb::bytes handle() const;

 private:
  SharedObject(Segment segment) : segment_(std::move(segment)) {}
  const SyncContext& join();

  Segment segment_;
  std::optional<SyncContext> context_;
};

// The URI in what people give as `where`. Errors: TypeError, naming the class `type`.
std::string uri_of(nb::handle where, std::string_view type);

// A name that nobody guesses, for what has none: "shm:strata.Lock.…".
std::string unique_uri(std::string_view type);

// What a segment has to be. Errors: ValueError, with what it is.
void check_type(const Segment& segment, std::string_view type);

// The bytes that let another process attach. Errors: NotFoundError where a pool has lost its name.
nb::bytes handle_of(const Segment& segment);
// Attaches to a handle: the segment it was made of, or an error; it never makes anything.
Segment attach_by_handle(const nb::bytes& handle, std::string_view mode, double timeout);
// Attaches in slices, so that Ctrl-C ends the wait for a creator that is still filling.
Segment attach_by_uri(const std::string& uri, AttachOptions options, double timeout);

// What __reduce_ex__ gives: the other process calls _from_handle(where...) of the class. By a
// function of Python, since pickle takes none of nanobind's.
template <typename... Where>
nb::tuple reopened(const nb::object& self, const Where&... where) {
  return nb::make_tuple(nb::module_::import_("strata._handles").attr("reopen"),
                        nb::make_tuple(self.type(), where...));
}

// What all classes of primitives have: uri, name, pickling. T has `SharedObject& object()`, and a
// static `T* from_handle(const nb::bytes&)`.
template <typename T, typename... Extra>
nb::class_<T> bind_shared(nb::module_& module, const char* name, const Extra&... extra) {
  nb::class_<T> type(module, name, nb::is_weak_referenceable(), extra...);
  type.def_prop_ro(
      "uri", [](T& self) { return self.object().uri(); },
      "The URI of its segment: whoever gives it to the class gets the same one.");
  type.def_prop_ro("name", [](T& self) { return self.object().name(); });
  type.def_static("_from_handle", &T::from_handle, nb::rv_policy::take_ownership);
  type.def("__reduce_ex__", [](nb::object self, int) {
    return reopened(self, nb::cast<T&>(self).object().handle());
  });
  return type;
}

}  // namespace strata::python
