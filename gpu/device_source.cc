#include "gpu/device_source.h"

#include <algorithm>

namespace strata::inline v0_1::cuda {

DeviceSource::DeviceSource(std::shared_ptr<StagingRing> ring, std::string name,
                           CuDevicePointer address, std::uint64_t bytes)
    : ring_(std::move(ring)),
      name_(std::move(name)),
      address_(address),
      bytes_(bytes),
      buffers_(ring_->device(), {.buffer_bytes = kPieceBytes, .buffers = kPieces}) {}

Result<void> DeviceSource::read(std::uint64_t offset_bytes, std::span<std::byte> into) {
  return ring_->copy_to_host(address_ + offset_bytes, into);
}

Result<LentBytes> DeviceSource::lend(std::uint64_t offset_bytes, std::uint64_t bytes) {
  if (offset_bytes % kPieceBytes != 0 || bytes > kPieceBytes) return LentBytes();
  STRATA_ASSIGN(const ContextScope scope, ring_->device().enter());
  STRATA_ASSIGN(StagingBuffer piece, take_piece(offset_bytes));
  STRATA_TRY(piece.wait());
  const auto content = std::span<const std::byte>(piece.bytes()).first(bytes);
  return LentBytes{content, std::make_shared<StagingBuffer>(std::move(piece))};
}

Result<StagingBuffer> DeviceSource::begin(StagingBuffer buffer, std::uint64_t offset_bytes) {
  STRATA_TRY(buffer.begin_copy_from(address_ + offset_bytes,
                                    std::min(kPieceBytes, bytes_ - offset_bytes)));
  return buffer;
}

// It is on its way, and so are those behind it.
Result<StagingBuffer> DeviceSource::take_piece(std::uint64_t offset_bytes) {
  std::unique_lock lock(mutex_);
  if (!is_ordered_) {
    STRATA_TRY(buffers_.order_after_default_stream(CopyDirection::to_host));
    is_ordered_ = true;
  }
  StagingBuffer piece;
  if (const auto found = ahead_.find(offset_bytes); found != ahead_.end()) {
    piece = std::move(found->second);
    ahead_.erase(found);
  } else {
    next_bytes_ = std::max(next_bytes_, offset_bytes + kPieceBytes);
    lock.unlock();
    // Those who read ahead leave some, and who reads gives back: the wait is short.
    STRATA_ASSIGN(piece, buffers_.take());
    STRATA_ASSIGN(piece, begin(std::move(piece), offset_bytes));
    lock.lock();
  }
  STRATA_TRY(read_ahead());
  return piece;
}

Result<void> DeviceSource::read_ahead() {
  while (next_bytes_ < bytes_ && ahead_.size() < kAhead) {
    STRATA_ASSIGN(StagingBuffer buffer, buffers_.take_if_free());
    if (!buffer) return {};
    STRATA_ASSIGN(ahead_[next_bytes_], begin(std::move(buffer), next_bytes_));
    next_bytes_ += kPieceBytes;
  }
  return {};
}

}  // namespace strata::inline v0_1::cuda
