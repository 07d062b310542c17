#include "python/core/mutex_state.h"

#include <nanobind/stl/string.h>

#include "python/core/segment.h"
#include "strata/segment/handle.h"

namespace strata::python {
namespace {

using States = ProcessWide<MutexState>;

States::Key key_of(const Segment& segment, std::int64_t place) {
  return {segment.identity().uuid, place};
}

RobustMutex& mutex_at(SharedObject& object, std::int64_t place) {
  const std::uint64_t slot = place == kLocksOwn ? 0 : static_cast<std::uint64_t>(place) - 1;
  const std::span<std::byte> payload = object.payload((slot + 1) * sizeof(MutexSlot));
  return reinterpret_cast<MutexSlot*>(payload.data())[slot].mutex;
}

std::shared_ptr<MutexState> first_in(SharedObject opened) {
  if (auto known = States::find(key_of(opened.segment(), kLocksOwn))) return known;
  return mutex_in(std::make_shared<SharedObject>(std::move(opened)), kLocksOwn);
}

// The lock in a segment's header. Errors: AccessError where it may only be read.
std::shared_ptr<MutexState> mutex_of(Segment& segment) {
  RobustMutex& mutex = *take(segment.mutex());
  const States::Key key = key_of(segment, kSegmentsOwn);
  if (auto known = States::find(key)) return known;
  return States::keep(
      key, std::make_shared<MutexState>(std::make_shared<SharedObject>(SharedObject::in(segment)),
                                        mutex, kSegmentsOwn));
}

}  // namespace

bool MutexState::acquire_slowly(Timeout timeout) {
  const SyncContext& context = this->context();
  const auto got = wait(timeout, [&](Deadline deadline) { return mutex_.lock(context, deadline); });
  if (got) {
    holder_.store(PyThread_get_thread_ident(), std::memory_order_relaxed);
    return true;
  }
  if (got.error().code() != Code::timed_out) raise(got.error().in(uri()));
  return false;
}

void MutexState::resume(std::uint32_t depth) {
  const SyncContext& context = this->context();
  for (;;) {
    const auto locked =
        without_gil([&] { return mutex_.lock(context, Deadline::after_ns(kSliceNs)); });
    if (locked) break;
    if (locked.error().code() != Code::timed_out) raise(locked.error().in(uri()));
  }
  depth_ = depth;
  holder_.store(PyThread_get_thread_ident(), std::memory_order_relaxed);
}

void MutexState::mark_repaired() { take(mutex_.mark_repaired(context())); }

nb::object MutexState::holder() {
  const SyncContext& context = this->context();
  const std::optional<RobustMutex::HolderNote> note = mutex_.holder(context);
  if (!note) return nb::none();
  const std::string text = without_gil([&] { return context.describe(note->token); });
  return nb::make_tuple(note->pid, text);
}

void MutexState::not_held(const char* verb) {
  const std::string what = uri() + ": " + verb + ": ";
  if (mutex_.is_held_by(context()))
    raise(Code::failed_precondition, what + "another thread of this process holds it");
  const std::uint32_t token = mutex_.look(context()).token;
  raise(Code::failed_precondition,
        what + (token == 0 ? "nobody holds it" : "it is held by " + context().describe(token)));
}

std::string MutexState::describe() const {
  if (place_ == kSegmentsOwn) return "of " + uri();
  return place_ == kLocksOwn ? uri() : uri() + "[" + std::to_string(place_ - 1) + "]";
}

std::shared_ptr<MutexState> open_mutex(std::string_view type, nb::handle where,
                                       nb::handle permissions) {
  if (nb::isinstance<PySegment>(where)) return mutex_of(nb::cast<PySegment&>(where).open());
  const std::string uri = where.is_none() ? "" : uri_of(where, type);
  return first_in(SharedObject::make(type, uri, sizeof(MutexSlot), {}, permissions));
}

std::shared_ptr<MutexState> mutex_of_handle(std::string_view type, const nb::bytes& handle,
                                            std::int64_t place) {
  const Handle decoded = take(decode(std::as_bytes(std::span(handle.c_str(), handle.size()))));
  if (auto known = States::find({decoded.uuid, place})) return known;
  if (place == kSegmentsOwn) {
    Segment segment = attach_by_handle(handle, "r+", 1.0);
    return mutex_of(segment);
  }
  if (place < 0) raise(Code::invalid_argument, "no lock is there");
  const std::string_view holds = place == kLocksOwn ? type : kShardedLockType;
  return mutex_in(std::make_shared<SharedObject>(SharedObject::attach_handle(holds, handle)),
                  place);
}

std::shared_ptr<MutexState> mutex_in(const std::shared_ptr<SharedObject>& object,
                                     std::int64_t place) {
  RobustMutex& mutex = mutex_at(*object, place);
  return States::keep(key_of(object->segment(), place),
                      std::make_shared<MutexState>(object, mutex, place));
}

}  // namespace strata::python
