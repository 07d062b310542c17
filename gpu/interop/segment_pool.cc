#include "strata/gpu/interop/segment_pool.h"

#include <fmt/format.h>

#include "base/check.h"

namespace strata::inline v0_1::interop {

Result<std::shared_ptr<SegmentPool>> SegmentPool::over(const Segment& segment) {
  STRATA_ASSIGN(const DeviceSpan span, segment.device_bytes());
  if (segment.access() != Access::read_write || segment.state() == SegmentState::sealed) {
    return fail(Code::failed_precondition, fmt::format("{} may only be read: nothing can be "
                                                       "allocated in it",
                                                       segment.uri().to_string()));
  }
  STRATA_ASSIGN(const std::shared_ptr<cuda::Devices> devices, cuda::Devices::load({}));
  cuda::Device* const device = devices->find(span.device_uuid);
  if (!device) {
    return fail(Code::no_device,
                fmt::format("{} is on {}, which this process does not see",
                            segment.uri().to_string(), cuda::device_uuid_text(span.device_uuid)));
  }
  return std::shared_ptr<SegmentPool>(new SegmentPool(segment, span, *device));
}

SegmentPool::SegmentPool(const Segment& segment, const DeviceSpan& span, cuda::Device& device)
    : segment_(segment.share()), start_(span.address), device_(device), allocator_(span.bytes) {}

std::uint64_t SegmentPool::offset_of(cuda::CuDevicePointer address) const {
  STRATA_CHECK(address >= start_);
  return address - start_;
}

// Takes back what streams have done with, the oldest first: others may be reached before it, and
// then wait their turn. Under the lock.
Result<void> SegmentPool::collect() {
  while (!leaving_.empty()) {
    STRATA_ASSIGN(const bool reached, leaving_.front().end.is_reached());
    if (!reached) break;
    allocator_.free(leaving_.front().offset);
    leaving_.pop_front();
  }
  return {};
}

Result<cuda::CuDevicePointer> SegmentPool::allocate(std::uint64_t bytes, std::uint64_t alignment,
                                                    Deadline deadline) {
  const std::lock_guard lock(mutex_);
  if (alignment == 0 || start_ % alignment != 0) {
    return fail(Code::invalid_argument,
                fmt::format("alignment {}: the segment begins at {:#x}", alignment, start_));
  }
  STRATA_TRY(collect());
  for (;;) {
    const auto offset = allocator_.allocate(bytes, alignment);
    if (offset) return start_ + *offset;
    if (offset.error().code() != Code::exhausted || leaving_.empty()) {
      return unexpected(offset.error().in("allocate in " + segment_.uri().to_string()));
    }
    STRATA_TRY(leaving_.front().end.wait(deadline));
    STRATA_TRY(collect());
  }
}

void SegmentPool::free(cuda::CuDevicePointer address) {
  const std::lock_guard lock(mutex_);
  allocator_.free(offset_of(address));
}

Result<void> SegmentPool::free_after(cuda::CuDevicePointer address, cuda::CuStream stream) {
  STRATA_ASSIGN(cuda::DeviceEvent end, cuda::DeviceEvent::create(device_));
  STRATA_TRY(end.record(stream));
  const std::lock_guard lock(mutex_);
  leaving_.push_back({offset_of(address), std::move(end)});
  return {};
}

std::uint64_t SegmentPool::free_bytes() const {
  const std::lock_guard lock(mutex_);
  return allocator_.free_bytes();
}

}  // namespace strata::inline v0_1::interop
