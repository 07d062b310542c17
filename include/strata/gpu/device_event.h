// A DeviceEvent marks a point in a stream, which the host can wait for.
//   Threads:  one at a time.
//   Lifetime: move-only; within that of its Device.
//   Errors:   as the driver says; timed_out at the deadline: the work goes on.
//   Cost:     a call of the driver each; a wait looks as gpu/poll.h does. For another
//             process to wait for: a slot of the timeline (strata/gpu/timeline.h).
#pragma once

#include <utility>

#include "strata/base/result.h"
#include "strata/gpu/device.h"
#include "strata/os/deadline.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::cuda {

class DeviceEvent {
 public:
  static Result<DeviceEvent> create(Device& device);
  DeviceEvent(DeviceEvent&& other) noexcept
      : device_(other.device_), event_(std::exchange(other.event_, nullptr)) {}
  DeviceEvent& operator=(DeviceEvent&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(event_, other.event_);
    return *this;
  }
  ~DeviceEvent();

  // The point behind all that is in the stream now.
  Result<void> record(CuStream stream);
  // Whether it is reached; an event that was never recorded is.
  Result<bool> is_reached() const;
  Result<void> wait(Deadline deadline) const;

 private:
  explicit DeviceEvent(Device& device) : device_(&device) {}

  Device* device_;
  CuEvent event_ = nullptr;
};

}  // namespace strata::inline v0_1::cuda
#pragma GCC visibility pop
