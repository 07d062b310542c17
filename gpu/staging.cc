#include "gpu/staging.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>

#include "gpu/driver.h"

namespace strata::inline v0_1::cuda {
namespace {

// A part of a copy that is under way in a buffer.
struct Part {
  StagingBuffer buffer;
  std::uint64_t offset_bytes = 0;
  std::uint64_t bytes = 0;
};

// Takes buffers one after another, and waits only for its own when none is free: two threads that
// hold some and want more must not wait for each other.
class Parts {
 public:
  Parts(StagingBuffers& buffers, std::uint64_t stall_ms) : buffers_(buffers), stall_ms_(stall_ms) {}

  // Empty where the oldest part has to end first.
  Result<StagingBuffer> next_buffer() {
    return under_way_.empty() ? buffers_.take(stall_ms_) : buffers_.take_if_free(stall_ms_);
  }
  void add(Part part) { under_way_.push_back(std::move(part)); }
  bool empty() const { return under_way_.empty(); }
  Result<Part> finish_oldest() {
    Part oldest = std::move(under_way_.front());
    under_way_.pop_front();
    STRATA_TRY(oldest.buffer.wait(stall_ms_));
    return oldest;
  }

 private:
  StagingBuffers& buffers_;
  const std::uint64_t stall_ms_;
  std::deque<Part> under_way_;
};

// `begin` starts the device on a part, `end` is called when it is done with it.
template <typename Begin, typename End>
Result<void> in_parts(StagingBuffers& buffers, std::uint64_t bytes, std::uint64_t stall_ms,
                      Begin begin, End end) {
  Parts parts(buffers, stall_ms);
  std::uint64_t begun = 0;
  while (begun < bytes || !parts.empty()) {
    StagingBuffer buffer;
    if (begun < bytes) {
      STRATA_ASSIGN(buffer, parts.next_buffer());
    }
    if (buffer) {
      Part part{std::move(buffer), begun, std::min(buffers.buffer_bytes(), bytes - begun)};
      STRATA_TRY(begin(part));
      begun += part.bytes;
      parts.add(std::move(part));
      continue;
    }
    STRATA_ASSIGN(const Part done, parts.finish_oldest());
    STRATA_TRY(end(done));
  }
  return {};
}

}  // namespace

std::shared_ptr<StagingRing> StagingRing::of(Device& device) {
  static std::mutex mutex;
  // Never destroyed: what static objects hold may end after this.
  static auto& rings = *new std::map<const Device*, std::weak_ptr<StagingRing>>;
  const std::lock_guard lock(mutex);
  std::weak_ptr<StagingRing>& known = rings[&device];
  auto ring = known.lock();
  if (!ring) {
    ring = std::make_shared<StagingRing>(device);
    known = ring;
  }
  return ring;
}

StagingRing::StagingRing(Device& device, StagingOptions options)
    : device_(device), buffers_(device, options) {}

Result<void> StagingRing::copy_to_host(CuDevicePointer from, std::span<std::byte> into,
                                       std::uint64_t stall_ms) {
  if (into.empty()) return {};
  if (into.size() <= kDirectBytes) {
    STRATA_ASSIGN(const ContextScope scope, device_.enter());
    return STRATA_CUDA(device_.driver(), cuMemcpyDtoH, into.data(), from, into.size());
  }
  return read_in_pieces(
      from, into.size(),
      [&](std::uint64_t offset_bytes, std::span<const std::byte> piece) -> Result<void> {
        std::memcpy(into.data() + offset_bytes, piece.data(), piece.size());
        return {};
      },
      stall_ms);
}

Result<void> StagingRing::read_in_pieces(CuDevicePointer from, std::uint64_t bytes,
                                         const TakeFn& take, std::uint64_t stall_ms) {
  STRATA_ASSIGN(const ContextScope scope, device_.enter());
  STRATA_TRY(buffers_.order_after_default_stream(CopyDirection::to_host));
  const auto begin = [&](Part& part) {
    return part.buffer.begin_copy_from(from + part.offset_bytes, part.bytes);
  };
  const auto end = [&](const Part& part) {
    return take(part.offset_bytes, part.buffer.bytes().first(part.bytes));
  };
  return in_parts(buffers_, bytes, stall_ms, begin, end);
}

Result<void> StagingRing::copy_to_device(CuDevicePointer to, std::span<const std::byte> from,
                                         std::uint64_t stall_ms) {
  if (from.empty()) return {};
  STRATA_ASSIGN(const ContextScope scope, device_.enter());
  if (from.size() <= kDirectBytes) {
    return STRATA_CUDA(device_.driver(), cuMemcpyHtoD, to, from.data(), from.size());
  }
  STRATA_TRY(buffers_.order_after_default_stream(CopyDirection::to_device));
  const auto begin = [&](Part& part) {
    std::memcpy(part.buffer.bytes().data(), from.data() + part.offset_bytes, part.bytes);
    return part.buffer.begin_copy_to(to + part.offset_bytes, part.bytes);
  };
  return in_parts(buffers_, from.size(), stall_ms, begin,
                  [](const Part&) { return Result<void>(); });
}

}  // namespace strata::inline v0_1::cuda
