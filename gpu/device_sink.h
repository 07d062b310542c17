// A DeviceSink takes bytes for the memory of a device. Who has them puts them straight into pinned
// buffers, and the device takes them from there while others are being filled.
//
//     DeviceSink sink(ring, address);
//     STRATA_TRY(sink.put(at, bytes, [&](std::span<std::byte> into) { … }));  // by any thread
//     STRATA_TRY(sink.finish());
//
//   Threads:  put() any, at once.
//   Lifetime: the memory must outlive it. What was begun is waited for at its end, unless a wait
//             has timed out before.
//   Errors:   as the driver's, and what fills a buffer returns; timed_out where the device comes no
//             further for `stall_ms`. The target is then unspecified.
//   Cost:     five calls of the driver for each piece.
//   Order:    as StagingRing, counted from the first piece on; done once finish() returns.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "gpu/staging.h"

namespace strata::inline v0_1::cuda {

class DeviceSink {
 public:
  using FillFn = std::function<Result<void>(std::span<std::byte> into)>;

  DeviceSink(std::shared_ptr<StagingRing> ring, CuDevicePointer address,
             std::uint64_t stall_ms = kStallMs)
      : ring_(std::move(ring)), address_(address), stall_ms_(stall_ms) {}
  ~DeviceSink() {
    if (!ring_->buffers().is_late(CopyDirection::to_device)) (void)finish();
  }
  DeviceSink(const DeviceSink&) = delete;
  DeviceSink& operator=(const DeviceSink&) = delete;

  // The longest piece.
  std::uint64_t piece_bytes() const { return ring_->buffers().buffer_bytes(); }
  Result<void> put(std::uint64_t offset_bytes, std::uint64_t bytes, const FillFn& fill);
  Result<void> finish();

 private:
  const std::shared_ptr<StagingRing> ring_;
  const CuDevicePointer address_;
  const std::uint64_t stall_ms_;
  std::mutex mutex_;  // of what follows
  bool has_begun_ = false;
};

}  // namespace strata::inline v0_1::cuda
