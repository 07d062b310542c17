#include "strata/gpu/device_event.h"

#include "gpu/device_wait.h"
#include "gpu/driver.h"

namespace strata::inline v0_1::cuda {

Result<DeviceEvent> DeviceEvent::create(Device& device) {
  DeviceEvent event(device);
  STRATA_ASSIGN(const ContextScope scope, device.enter());
  STRATA_TRY(STRATA_CUDA(device.driver(), cuEventCreate, &event.event_, kEventDisableTiming));
  return event;
}

DeviceEvent::~DeviceEvent() {
  if (event_ && device_->driver().is_usable())
    (void)device_->driver().call().cuEventDestroy(event_);
}

Result<void> DeviceEvent::record(CuStream stream) {
  STRATA_ASSIGN(const ContextScope scope, device_->enter());
  return STRATA_CUDA(device_->driver(), cuEventRecord, event_, stream);
}

Result<bool> DeviceEvent::is_reached() const {
  const CuResult state = device_->driver().call().cuEventQuery(event_);
  if (state == kNotReady) return false;
  STRATA_TRY(device_->driver().check(state, "cuEventQuery"));
  return true;
}

Result<void> DeviceEvent::wait(Deadline deadline) const {
  return await_event(*device_, event_, deadline, "what is in the stream");
}

}  // namespace strata::inline v0_1::cuda
