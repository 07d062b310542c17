// A DeviceSource gives the bytes of a device to whoever fills something with them. It lends pinned
// buffers into which the device copies ahead of those who read, so that copying, hashing and
// storing go on at once, also where one thread does the latter two.
//   Threads:  as ByteSource.
//   Lifetime: the memory and the Device must outlive it, and it what it lends.
//   Errors:   as the driver's; timed_out where the device comes no further for kStallMs, which is
//             in gpu/device_wait.h.
//   Cost:     pins its buffers, up to 16 MiB, with the first piece; then three calls of the driver
//             for each.
//   Order:    as StagingRing, counted from the first piece on.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "gpu/staging.h"
#include "strata/base/byte_source.h"

namespace strata::inline v0_1::cuda {

class DeviceSource final : public ByteSource {
 public:
  DeviceSource(std::shared_ptr<StagingRing> ring, std::string name, CuDevicePointer address,
               std::uint64_t bytes);
  std::string name() const override { return name_; }
  std::optional<std::uint64_t> bytes() const override { return bytes_; }
  std::uint64_t granule_bytes() const override { return kPieceBytes; }
  Result<void> read(std::uint64_t offset_bytes, std::span<std::byte> into) override;
  Result<LentBytes> lend(std::uint64_t offset_bytes, std::uint64_t bytes) override;

 private:
  // What stays in the cache of a processor while it is hashed and stored.
  static constexpr std::uint64_t kPieceBytes = MiB(1);
  static constexpr unsigned kPieces = 16;
  // That are copied before anybody asks for them; the others are with those who read.
  static constexpr unsigned kAhead = 6;

  Result<StagingBuffer> begin(StagingBuffer buffer, std::uint64_t offset_bytes);
  Result<StagingBuffer> take_piece(std::uint64_t offset_bytes);
  Result<void> read_ahead();

  const std::shared_ptr<StagingRing> ring_;
  const std::string name_;
  const CuDevicePointer address_;
  const std::uint64_t bytes_;
  StagingBuffers buffers_;
  std::mutex mutex_;  // of what follows
  bool is_ordered_ = false;
  std::uint64_t next_bytes_ = 0;                  // where to read ahead
  std::map<std::uint64_t, StagingBuffer> ahead_;  // by offset
};

}  // namespace strata::inline v0_1::cuda
