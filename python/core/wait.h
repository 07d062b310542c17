// How Python waits: without the GIL, and in slices, after each of which signals are looked at, so
// that Ctrl-C ends any wait at once.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>

#include "python/core/errors.h"
#include "strata/os/deadline.h"

namespace strata::python {

// Seconds as Python gives them: None is for ever, and what is not above 0 is "look once".
class Timeout {
 public:
  static Timeout for_ever() { return Timeout(std::nullopt); }
  static Timeout now() { return Timeout(0); }
  static Timeout after_ns(std::uint64_t ns) { return Timeout(ns); }
  static Timeout from(nb::handle seconds) {
    if (seconds.is_none()) return for_ever();
    const double value = PyFloat_AsDouble(seconds.ptr());
    if (value == -1.0 && PyErr_Occurred() != nullptr) throw nb::python_error();
    if (std::isnan(value)) raise(Code::invalid_argument, "a timeout cannot be NaN");
    constexpr double kMostSeconds = 1e9;
    if (value > kMostSeconds) return for_ever();
    return Timeout(value <= 0 ? 0 : static_cast<std::uint64_t>(value * 1e9));
  }

  bool is_now() const { return ns_ == 0; }
  std::optional<std::uint64_t> ns() const { return ns_; }

 private:
  explicit Timeout(std::optional<std::uint64_t> ns) : ns_(ns) {}
  std::optional<std::uint64_t> ns_;
};

inline constexpr std::uint64_t kSliceNs = 20'000'000;

// Calls attempt(Deadline), which returns a Result, until it does something else than time out.
// Errors: what a handler of a signal raised, and nothing was done.
template <typename Attempt>
auto wait(Timeout timeout, Attempt&& attempt) {
  if (timeout.is_now()) return attempt(Deadline::after_ns(0));
  const auto end = timeout.ns() ? std::optional(Deadline::after_ns(*timeout.ns())) : std::nullopt;
  for (;;) {
    const std::uint64_t left = end ? end->remaining_ns() : kSliceNs;
    auto result =
        without_gil([&] { return attempt(Deadline::after_ns(std::min(left, kSliceNs))); });
    if (result || result.error().code() != Code::timed_out || (end && end->expired()))
      return result;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  }
}

}  // namespace strata::python
