// StagingBuffers are a few buffers of pinned memory with a stream for each direction, and an event
// for each buffer: what the device does with a buffer is done once its event has passed.
//   Threads:  any; a buffer belongs to who took it.
//   Lifetime: they end after all that was taken is given back. It must not outlive its Device.
//   Errors:   exhausted where no more memory can be pinned; timed_out where the device comes no
//             further, or no buffer is given back, for so long: what was begun goes on, and may
//             still write to where it was told to. Else as the driver's. Of a copy that fails while
//             it runs the driver tells whoever calls it next.
//   Cost:     a buffer is pinned when it is needed first (a millisecond or so), and kept. The end
//             waits for what is under way, but once a wait has timed out no longer: buffers that
//             the device still uses stay pinned until it is done with them (gpu/leftovers.h).
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "gpu/device_wait.h"
#include "strata/base/bytes.h"
#include "strata/base/result.h"
#include "strata/gpu/device.h"

namespace strata::inline v0_1::cuda {

struct StagingOptions {
  std::uint64_t buffer_bytes = MiB(2);
  unsigned buffers = 8;  // at most so many are pinned
};

enum class CopyDirection : std::uint8_t { to_host, to_device };

class StagingBuffers;

// A buffer that was taken, until its end. What was begun with it is waited for there, unless the
// device was seen to come no further.
class StagingBuffer {
 public:
  StagingBuffer() = default;
  StagingBuffer(StagingBuffer&& other) noexcept
      : owner_(std::exchange(other.owner_, nullptr)), slot_(std::exchange(other.slot_, nullptr)) {}
  StagingBuffer& operator=(StagingBuffer&& other) noexcept;
  ~StagingBuffer();

  explicit operator bool() const { return slot_ != nullptr; }
  std::span<std::byte> bytes() const;

  // Begins to copy between the start of the buffer and the device, whose context is current.
  Result<void> begin_copy_from(CuDevicePointer from, std::uint64_t bytes);
  Result<void> begin_copy_to(CuDevicePointer to, std::uint64_t bytes);
  // Returns once the copy that was begun is done.
  Result<void> wait(std::uint64_t stall_ms = kStallMs);
  // Gives it back while the copy goes on; whoever takes it next waits for that.
  void leave();

 private:
  friend class StagingBuffers;
  struct Slot;
  StagingBuffer(StagingBuffers& owner, Slot& slot) : owner_(&owner), slot_(&slot) {}
  Result<void> record();

  StagingBuffers* owner_ = nullptr;
  Slot* slot_ = nullptr;
};

class StagingBuffers {
 public:
  StagingBuffers(Device& device, StagingOptions options);
  ~StagingBuffers();
  StagingBuffers(const StagingBuffers&) = delete;
  StagingBuffers& operator=(const StagingBuffers&) = delete;

  // Waits until one is free. Whoever holds one already may not: two such would wait for each other.
  Result<StagingBuffer> take(std::uint64_t stall_ms = kStallMs);
  // Empty where none is free.
  Result<StagingBuffer> take_if_free(std::uint64_t stall_ms = kStallMs);
  // What is begun in this direction from now on comes after all that was queued on the default
  // stream, and on streams that synchronise with it. The device's context is current.
  Result<void> order_after_default_stream(CopyDirection direction);
  // Returns once all that was begun in this direction is done, by others too.
  Result<void> wait_for_all(CopyDirection direction, std::uint64_t stall_ms = kStallMs);

  // Whether the last wait in this direction has timed out: who ends does not wait once more.
  bool is_late(CopyDirection direction) const {
    return is_late_[static_cast<std::size_t>(direction)];
  }

  std::uint64_t buffer_bytes() const { return options_.buffer_bytes; }
  std::uint64_t pinned_bytes() const;

 private:
  friend class StagingBuffer;
  using Slot = StagingBuffer::Slot;
  Result<CuStream> stream(CopyDirection direction);
  Result<StagingBuffer> take_or_make(std::unique_lock<std::mutex>& lock, std::uint64_t stall_ms);
  Result<void> make(Slot& slot) const;
  // What a wait for this direction has come to.
  Result<void> noted(CopyDirection direction, Result<void> waited);
  void give_back(Slot& slot);

  Device& device_;
  const StagingOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable given_back_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::deque<Slot*> free_;
  std::array<CuStream, 2> streams_{};
  std::array<std::atomic<bool>, 2> is_late_{};
};

}  // namespace strata::inline v0_1::cuda
