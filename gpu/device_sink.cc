#include "gpu/device_sink.h"

#include "gpu/driver.h"

namespace strata::inline v0_1::cuda {

Result<void> DeviceSink::put(std::uint64_t offset_bytes, std::uint64_t bytes, const FillFn& fill) {
  STRATA_ASSIGN(StagingBuffer buffer, ring_->buffers().take(stall_ms_));
  STRATA_TRY(fill(buffer.bytes().first(bytes)));
  STRATA_ASSIGN(const ContextScope scope, ring_->device().enter());
  {
    const std::lock_guard lock(mutex_);
    if (!has_begun_) {
      STRATA_TRY(ring_->buffers().order_after_default_stream(CopyDirection::to_device));
    }
    has_begun_ = true;
  }
  STRATA_TRY(buffer.begin_copy_to(address_ + offset_bytes, bytes));
  buffer.leave();
  return {};
}

Result<void> DeviceSink::finish() {
  const std::lock_guard lock(mutex_);
  if (!has_begun_ || !ring_->device().driver().is_usable()) return {};
  STRATA_ASSIGN(const ContextScope scope, ring_->device().enter());
  auto done = ring_->buffers().wait_for_all(CopyDirection::to_device, stall_ms_);
  has_begun_ = !done;
  return done;
}

}  // namespace strata::inline v0_1::cuda
