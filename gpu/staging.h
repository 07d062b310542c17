// A StagingRing moves bytes between memory of the host and memory of a device through a few pinned
// buffers: while the device copies into or out of one, the host copies out of or into another.
//
//     const std::shared_ptr<StagingRing> ring = StagingRing::of(device);
//     STRATA_TRY(ring->copy_to_host(device_address, bytes));
//
//   Threads:  any; several at once share the buffers.
//   Lifetime: one for each device, which ends with the last holder and gives its pinned memory
//             back. It must not outlive its Device. In a forked child it is of no use, and
//             harmless.
//   Errors:   as the driver's. What lies in the target is then unspecified; the ring is as before.
//             exhausted: no more memory can be pinned. timed_out: the device came no further for
//             `stall_ms`. Up to kDirectBytes the driver itself waits, for what is queued before
//             too, and takes no deadline. After a timeout a copy to the host writes no more to
//             where it was told to; one to the device may still do so, and that memory must stay
//             mapped until a later wait succeeds.
//   Cost:     of(): a lock. Up to direct_bytes: three calls of the driver and no pinned memory.
//             Above: the first copy pins a buffer at a time; then three calls for each buffer that
//             is filled, and six for the whole; and looks for the end of each (gpu/poll.h).
//   Order:    as cuMemcpy: after all that was queued before on the default stream and on streams
//             that synchronise with it, and done on return. Streams made with
//             CU_STREAM_NON_BLOCKING are the caller's to wait for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "gpu/staging_buffers.h"
#include "strata/base/bytes.h"
#include "strata/base/result.h"
#include "strata/gpu/device.h"

namespace strata::inline v0_1::cuda {

class StagingRing {
 public:
  // What is no longer than this goes the driver's own way: it costs less than two copies.
  static constexpr std::uint64_t kDirectBytes = KiB(64);

  static std::shared_ptr<StagingRing> of(Device& device);
  explicit StagingRing(Device& device, StagingOptions options = {});

  Result<void> copy_to_host(CuDevicePointer from, std::span<std::byte> into,
                            std::uint64_t stall_ms = kStallMs);
  // Hands over the bytes in pinned pieces, in turn, while the device copies those behind ahead.
  using TakeFn =
      std::function<Result<void>(std::uint64_t offset_bytes, std::span<const std::byte> piece)>;
  Result<void> read_in_pieces(CuDevicePointer from, std::uint64_t bytes, const TakeFn& take,
                              std::uint64_t stall_ms = kStallMs);
  Result<void> copy_to_device(CuDevicePointer to, std::span<const std::byte> from,
                              std::uint64_t stall_ms = kStallMs);

  Device& device() const { return device_; }
  // For those who fill and empty buffers themselves.
  StagingBuffers& buffers() { return buffers_; }

 private:
  Device& device_;
  StagingBuffers buffers_;
};

}  // namespace strata::inline v0_1::cuda
