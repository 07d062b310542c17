// Who in this process keeps device memory for later use only, and lets go of it when others want it
// back.
//   Threads:  any; call() on the thread that serves descriptors.
//   Lifetime: shared by the backend and what it serves. set() returns once the listener that it
//             replaces is not running.
//   Cost:     a lock.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>

namespace strata::inline v0_1::cuda {

class ReleaseListener {
 public:
  using Listener = std::function<void(const std::array<std::uint8_t, 16>& segment_uuid)>;

  void set(Listener listener) {
    const std::lock_guard lock(mutex_);
    listener_ = std::move(listener);
  }
  void call(const std::array<std::uint8_t, 16>& segment_uuid) {
    const std::lock_guard lock(mutex_);
    if (listener_) listener_(segment_uuid);
  }

 private:
  std::mutex mutex_;
  Listener listener_;
};

}  // namespace strata::inline v0_1::cuda
