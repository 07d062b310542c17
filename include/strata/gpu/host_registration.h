// A HostRegistration makes the payload of a segment that the host addresses known to the CUDA
// driver: its pages are pinned, and devices read and write them at full speed.
//   Threads:  any.
//   Lifetime: one for each attachment of this process, shared by all who ask; the pages are let go
//             with the last, and until then the attachment is held. What devices still do with the
//             memory must have ended by then. In a forked child it is of no use, and harmless.
//   Errors:   unsupported where the host cannot address the payload, or it is attached in a way
//             that no device can follow; failed_precondition where somebody else registered the
//             pages; exhausted. Nothing stays registered that was not before.
//   Cost:     faults every page in, and pins it; 100 ms or so for 1 GiB. Of a segment that has
//             grown only what is new. A payload that is registered already costs a lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "strata/base/bytes.h"
#include "strata/base/result.h"
#include "strata/gpu/device.h"
#include "strata/segment/segment.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::cuda {

// Drivers refuse 512 GiB and more in one call (r580, CUDA_ERROR_OUT_OF_MEMORY).
inline constexpr std::uint64_t kMaxRegisteredPieceBytes = GiB(256);

class HostRegistration {
 public:
  // Registers the payload of `segment`, as far as it is not yet. `device` is where the calls are
  // made; what is registered is so for all devices.
  static Result<std::shared_ptr<HostRegistration>> of(
      const Segment& segment, Device& device, std::uint64_t piece_bytes = kMaxRegisteredPieceBytes);
  // The one of this attachment, where there is one; else null.
  static std::shared_ptr<HostRegistration> find(const Segment& segment);
  HostRegistration(const HostRegistration&) = delete;
  HostRegistration& operator=(const HostRegistration&) = delete;

  const Segment& segment() const { return segment_; }
  // Where it was registered first.
  Device& device() const { return *device_; }
  // Of the payload, from its start on.
  std::uint64_t bytes() const;
  // Where `device` finds the first byte.
  Result<CuDevicePointer> address_on(Device& device) const;

 private:
  struct Registry;
  explicit HostRegistration(const Segment& segment) : segment_(segment.share()) {}
  static std::shared_ptr<HostRegistration> counted(std::shared_ptr<HostRegistration> all);
  void let_go();
  Result<void> extend(Device& device, std::uint64_t piece_bytes);
  Result<void> register_pieces(std::span<std::byte> range, unsigned flags,
                               std::uint64_t piece_bytes);
  // The last ones, until `count` are left.
  void unregister_down_to(std::size_t count);

  const Segment segment_;
  mutable std::mutex mutex_;  // of what follows
  std::size_t users_ = 0;
  Device* device_ = nullptr;  // where the pieces were registered
  std::vector<std::span<std::byte>> pieces_;
  std::uint64_t bytes_ = 0;
};

}  // namespace strata::inline v0_1::cuda
#pragma GCC visibility pop
