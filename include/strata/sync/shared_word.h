// A SharedWord is one atomic in shared bytes. Every access to it is a STRATA_STEP: a place where
// tests kill the process, or let another one run. So no step of an algorithm can be forgotten.
//   Threads:  any thread of any process that maps the word.
//   Lifetime: never moved or copied; zeroed bytes are a word of 0.
//   Errors:   none; what is read may have been written by anybody.
//   Cost:     that of std::atomic; the marks are gone in normal builds.
//   Persists: the bytes only.
#pragma once

#include <atomic>
#include <cstdint>

#include "strata/base/step.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

template <typename T>
class SharedWord {
  static_assert(std::atomic<T>::is_always_lock_free && sizeof(std::atomic<T>) == sizeof(T));

 public:
  SharedWord() = default;
  explicit SharedWord(T value) : value_(value) {}

  T load(std::memory_order order, const char* where = __builtin_FUNCTION()) const {
    mark(where);
    return value_.load(order);
  }
  void store(T value, std::memory_order order, const char* where = __builtin_FUNCTION()) {
    mark(where);
    value_.store(value, order);
  }
  T exchange(T value, std::memory_order order, const char* where = __builtin_FUNCTION()) {
    mark(where);
    return value_.exchange(value, order);
  }
  // Strong; `expected` is refreshed on failure, with no order.
  bool compare_exchange(T& expected, T desired, std::memory_order order,
                        const char* where = __builtin_FUNCTION()) {
    mark(where);
    return value_.compare_exchange_strong(expected, desired, order, std::memory_order_relaxed);
  }
  T fetch_add(T value, std::memory_order order, const char* where = __builtin_FUNCTION()) {
    mark(where);
    return value_.fetch_add(value, order);
  }
  T fetch_or(T value, std::memory_order order, const char* where = __builtin_FUNCTION()) {
    mark(where);
    return value_.fetch_or(value, order);
  }
  T fetch_and(T value, std::memory_order order, const char* where = __builtin_FUNCTION()) {
    mark(where);
    return value_.fetch_and(value, order);
  }

  // Where futex calls look: the word itself, or the low half of a 64-bit one (little-endian).
  const std::atomic<std::uint32_t>& futex() const {
    const void* const word = &value_;
    const auto* const low = static_cast<const std::atomic<std::uint32_t>*>(word);
    return *low;
  }

 private:
  static void mark([[maybe_unused]] const char* where) { STRATA_STEP(where); }

  std::atomic<T> value_{0};
};

static_assert(sizeof(SharedWord<std::uint32_t>) == 4 && sizeof(SharedWord<std::uint64_t>) == 8);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
