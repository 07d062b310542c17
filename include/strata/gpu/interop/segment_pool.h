// A SegmentPool allocates out of a device segment, for this process alone. Which bytes are taken is
// known to nobody else, and forgotten when the process ends: share the segment, not what is
// allocated in it.
//
//     STRATA_ASSIGN(const auto pool, SegmentPool::over(segment));
//     STRATA_ASSIGN(const CuDevicePointer scratch, pool->allocate(bytes, 256));
//     pool->free_after(scratch, stream);
//
//   Threads:  any.
//   Lifetime: holds the attachment. What was allocated ends with it.
//   Errors:   exhausted with what is free; failed_precondition over a segment that may not be
//             written to; unsupported over host memory (there a heap does it: strata/heap/heap.h).
//   Cost:     a lock and logarithmic time. What was freed in a stream costs an event; when nothing
//             else is free, allocate() waits for the oldest of them.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "strata/base/result.h"
#include "strata/gpu/device_event.h"
#include "strata/gpu/interop/region_allocator.h"
#include "strata/os/deadline.h"
#include "strata/segment/segment.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::interop {

class SegmentPool {
 public:
  static Result<std::shared_ptr<SegmentPool>> over(const Segment& segment);

  // Memory that may be used at once, in any stream; of undefined content.
  // Errors: exhausted; timed_out where that which would do is still in use by a stream.
  Result<cuda::CuDevicePointer> allocate(std::uint64_t bytes, std::uint64_t alignment,
                                         Deadline deadline = Deadline::after_ms(10'000));
  // Nothing uses it any more.
  void free(cuda::CuDevicePointer address);
  // Nothing uses it any more once all that is in the stream now has been done. Where that cannot
  // be found out it stays taken.
  Result<void> free_after(cuda::CuDevicePointer address, cuda::CuStream stream);

  // Without what streams still use.
  std::uint64_t free_bytes() const;

 private:
  // What a stream still uses.
  struct Leaving {
    std::uint64_t offset;
    cuda::DeviceEvent end;
  };

  SegmentPool(const Segment& segment, const DeviceSpan& span, cuda::Device& device);
  Result<void> collect();
  std::uint64_t offset_of(cuda::CuDevicePointer address) const;

  Segment segment_;
  cuda::CuDevicePointer start_;
  cuda::Device& device_;
  mutable std::mutex mutex_;
  RegionAllocator allocator_;
  std::deque<Leaving> leaving_;
};

}  // namespace strata::inline v0_1::interop
#pragma GCC visibility pop
