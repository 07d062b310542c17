// The payload of a device segment: memory of a device that is mapped into this process, with its
// header page in host memory.
//   Threads:  as Payload; read() and write() by any number of threads.
//   Lifetime: within that of its HeaderPlane, whose page it maps.
//   Errors:   as the driver says; failed_precondition in a process that was forked after the driver
//             was started.
//   Cost:     device_bytes() is a load; read() and write() are a copy over the bus (gpu/staging.h).
//             settle() waits for all streams of the context, until the driver says that they have
//             ended: it takes no deadline.
#pragma once

#include <cstdint>
#include <memory>

#include "gpu/descriptor_exchange.h"
#include "gpu/device_memory.h"
#include "gpu/export_block.h"
#include "gpu/staging.h"
#include "segment/header_plane.h"
#include "segment/payload.h"
#include "strata/segment/segment.h"

namespace strata::inline v0_1 {

class CudaPayload final : public Payload {
 public:
  // Maps the header page of `plane` and lets the plane use it.
  static Result<std::unique_ptr<CudaPayload>> open(HeaderPlane& plane);
  ~CudaPayload() override;
  // That of an attached device segment. Errors: unsupported for memory of another kind.
  static Result<CudaPayload*> of(const Segment& segment);

  // What the payload is, once it is known: done before anybody uses it. `exported` is a checked
  // copy, and `payload_bytes` lie within it.
  void set_memory(std::unique_ptr<cuda::DeviceMemory> memory, const ExportBlock& exported,
                  std::uint64_t payload_bytes);
  // Whoever asks is given the descriptor as long as this lives.
  void set_served(std::unique_ptr<cuda::ServedDescriptor> served) { served_ = std::move(served); }

  cuda::Device& device() const { return memory_->device(); }
  // As DeviceMemory::let_reach().
  Result<void> let_reach(const cuda::Device& other) { return memory_->let_reach(other); }
  const std::shared_ptr<cuda::StagingRing>& staging() const { return staging_; }
  // Of the first payload byte.
  cuda::CuDevicePointer address() const { return memory_->address() + exported_.offset_bytes; }
  const ExportBlock& exported() const { return exported_; }
  DeviceMechanism mechanism() const { return static_cast<DeviceMechanism>(exported_.mechanism); }
  HeaderPlane& plane() const { return plane_; }

  Result<std::byte*> host_bytes() override;
  Result<DeviceSpan> device_bytes() override;
  Result<void> read(std::uint64_t offset_bytes, std::span<std::byte> into) override;
  Result<void> write(std::uint64_t offset_bytes, std::span<const std::byte> from) override;
  Result<void> settle(std::uint64_t payload_bytes) override;
  Result<std::uint64_t> existing_bytes() override;
  Result<void> extend(std::uint64_t from_bytes, std::uint64_t to_bytes) override;
  Result<void> check_may_freeze() override;
  Result<void> freeze(const std::function<Result<void>()>& record) override;
  void describe(Handle& handle) const override;

 private:
  explicit CudaPayload(HeaderPlane& plane) : plane_(plane), os_(plane.os()) {}
  Result<void> map_header(int fd, int protection);

  HeaderPlane& plane_;
  Os& os_;
  std::byte* header_ = nullptr;
  std::shared_ptr<cuda::StagingRing> staging_;
  std::unique_ptr<cuda::DeviceMemory> memory_;
  ExportBlock exported_{};
  std::uint64_t payload_bytes_ = 0;
  std::unique_ptr<cuda::ServedDescriptor> served_;  // ends first
};

}  // namespace strata::inline v0_1
