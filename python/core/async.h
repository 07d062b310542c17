// What asyncio waits with: strata._asyncio looks again and again, with pauses that grow.
#pragma once

#include "python/core/errors.h"

namespace strata::python {

// `await function(self, ...)` of strata._asyncio.
template <typename... Args>
nb::object call_async(const char* function, const Args&... args) {
  return nb::module_::import_("strata._asyncio").attr(function)(args...);
}

// acquire_async() and `async with` of what has acquire(False) and release().
template <typename Class>
void bind_async_acquire(Class& type) {
  using namespace nb::literals;  // NOLINT(google-build-using-namespace): nanobind's own way
  type.def(
      "acquire_async",
      [](nb::object self, nb::object timeout) { return call_async("acquire", self, timeout); },
      "timeout"_a = nb::none(),
      nb::sig("def acquire_async(self, timeout: float | None = None)"
              " -> collections.abc.Awaitable[bool]"),
      "await it: takes it without blocking the event loop; False where it was not to be had\n"
      "within timeout seconds. A task that is cancelled meanwhile holds nothing.");
  type.def(
      "__aenter__", [](nb::object self) { return call_async("enter", self); },
      nb::sig("def __aenter__(self) -> collections.abc.Awaitable[None]"));
  type.def(
      "__aexit__", [](nb::object self, nb::args) { return call_async("leave", self); },
      nb::sig("def __aexit__(self, *args: object) -> collections.abc.Awaitable[None]"));
}

}  // namespace strata::python
