// StagingBuffers are a few buffers of pinned memory with a stream for each direction, and an event
// for each buffer: what the device does with a buffer is done once its event has passed.
//   Threads:  any; a buffer belongs to who took it.
//   Lifetime: they end after all that was taken is given back. It must not outlive its Device.
//   Errors:   exhausted where no more memory can be pinned; else as the driver's. Of a copy that
//             fails while it runs the driver tells whoever calls it next.
//   Cost:     a buffer is pinned when it is needed first (a millisecond or so), and kept.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

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

// A buffer that was taken, until its end. What was begun with it is waited for there.
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
  Result<void> wait();
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
  Result<StagingBuffer> take();
  // Empty where none is free.
  Result<StagingBuffer> take_if_free();
  // What is begun in this direction from now on comes after all that was queued on the default
  // stream, and on streams that synchronise with it. The device's context is current.
  Result<void> order_after_default_stream(CopyDirection direction);
  // Returns once all that was begun in this direction is done, by others too.
  Result<void> wait_for_all(CopyDirection direction);

  std::uint64_t buffer_bytes() const { return options_.buffer_bytes; }
  std::uint64_t pinned_bytes() const;

 private:
  friend class StagingBuffer;
  using Slot = StagingBuffer::Slot;
  Result<CuStream> stream(CopyDirection direction);
  Result<StagingBuffer> take_or_make(std::unique_lock<std::mutex>& lock);
  Result<void> make(Slot& slot) const;
  void destroy(Slot& slot) const;
  void give_back(Slot& slot);

  Device& device_;
  const StagingOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable given_back_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::deque<Slot*> free_;
  CuStream streams_[2] = {nullptr, nullptr};
};

}  // namespace strata::inline v0_1::cuda
