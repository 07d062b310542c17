// strata.Lock and strata.RLock: what others are made with.
#pragma once

#include <memory>

#include "python/core/mutex_state.h"

namespace strata::python {

struct PyLock {
  static constexpr const char* kType = "strata.Lock";
  std::shared_ptr<MutexState> state;

  bool acquire(Timeout timeout) { return state->acquire(timeout); }
  bool try_acquire_alone() { return state->acquire(Timeout::now()); }
  void release() { state->release(); }
};

struct PyRLock {
  static constexpr const char* kType = "strata.RLock";
  std::shared_ptr<MutexState> state;

  bool acquire(Timeout timeout) { return state->acquire_again(timeout); }
  // Tasks of one thread must not take each other for the holder.
  bool try_acquire_alone() {
    return !state->is_held_by_this_thread() && state->acquire_again(Timeout::now());
  }
  void release() { state->release_once(); }
};

}  // namespace strata::python
