// What the core returns as a Status is raised as an exception of strata._errors, each of which is
// also the built-in one that a Python programmer would catch.
//   Threads:  all of it needs the GIL, but for what without_gil() is given.
#pragma once

#include <nanobind/nanobind.h>

#include <utility>

#include "strata/base/result.h"

namespace strata::python {

namespace nb = nanobind;

[[noreturn]] void raise(const Status& status);
// ValueError and so on, for what only the binding can tell.
[[noreturn]] void raise(Code code, const std::string& message);

inline void take(Result<void> result) {
  if (!result) raise(result.error());
}
template <typename T>
T take(Result<T> result) {
  if (!result) raise(result.error());
  return *std::move(result);
}

// What may take longer than a few microseconds runs so: other threads of Python go on.
template <typename Work>
auto without_gil(Work&& work) {
  nb::gil_scoped_release release;
  return std::forward<Work>(work)();
}
template <typename Work>
auto take_without_gil(Work&& work) {
  return take(without_gil(std::forward<Work>(work)));
}

}  // namespace strata::python
