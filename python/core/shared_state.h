// Opens primitives of which a process keeps a state of its own: see process_wide.h.
#pragma once

#include <memory>
#include <string_view>

#include "python/core/process_wide.h"
#include "python/core/shared_object.h"
#include "strata/segment/handle.h"

namespace strata::python {

// T is made of a SharedObject. What this process has open already is taken instead.
template <typename T>
std::shared_ptr<T> state_of(SharedObject opened) {
  const typename ProcessWide<T>::Key key{opened.segment().identity().uuid, 0};
  if (auto known = ProcessWide<T>::find(key)) return known;
  return ProcessWide<T>::keep(key, std::make_shared<T>(std::move(opened)));
}

// What a handle of another process leads to. Errors: as SharedObject::attach_handle().
template <typename T>
std::shared_ptr<T> state_of_handle(std::string_view type, const nb::bytes& handle) {
  const Handle decoded = take(decode(std::as_bytes(std::span(handle.c_str(), handle.size()))));
  if (auto known = ProcessWide<T>::find({decoded.uuid, 0})) return known;
  return state_of<T>(SharedObject::attach_handle(type, handle));
}

// What waits of any kind give: true, false for timed_out, or the exception.
inline bool got(const Result<void>& result, const SharedObject& object) {
  if (result) return true;
  if (result.error().code() != Code::timed_out) raise(result.error().in(object.uri()));
  return false;
}

}  // namespace strata::python
