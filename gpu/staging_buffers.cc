#include "gpu/staging_buffers.h"

#include <fmt/format.h>

#include <algorithm>

#include "gpu/driver.h"

namespace strata::inline v0_1::cuda {
namespace {

// So that a buffer serves copies of other devices too.
constexpr unsigned kHostAllocPortable = 1;

}  // namespace

struct StagingBuffer::Slot {
  std::byte* bytes = nullptr;
  CuEvent event = nullptr;
  // Where a copy was begun that was not seen to end, and whether the event stands behind it.
  CuStream busy_on = nullptr;
  bool has_event = false;
};

StagingBuffer& StagingBuffer::operator=(StagingBuffer&& other) noexcept {
  std::swap(owner_, other.owner_);
  std::swap(slot_, other.slot_);
  return *this;
}

StagingBuffer::~StagingBuffer() {
  if (!slot_) return;
  if (slot_->busy_on && owner_->device_.driver().is_usable()) {
    // Where this fails the next who takes the buffer waits for it.
    const auto scope = owner_->device_.enter();
    if (scope) (void)wait();
  }
  owner_->give_back(*slot_);
}

std::span<std::byte> StagingBuffer::bytes() const { return {slot_->bytes, owner_->buffer_bytes()}; }

Result<void> StagingBuffer::begin_copy_from(CuDevicePointer from, std::uint64_t bytes) {
  const Driver& driver = owner_->device_.driver();
  STRATA_ASSIGN(CuStream const stream, owner_->stream(CopyDirection::to_host));
  // Before the calls: one that fails may have begun the copy.
  slot_->busy_on = stream;
  STRATA_TRY(STRATA_CUDA(driver, cuMemcpyDtoHAsync, slot_->bytes, from, bytes, stream));
  return record();
}

Result<void> StagingBuffer::begin_copy_to(CuDevicePointer to, std::uint64_t bytes) {
  const Driver& driver = owner_->device_.driver();
  STRATA_ASSIGN(CuStream const stream, owner_->stream(CopyDirection::to_device));
  slot_->busy_on = stream;
  STRATA_TRY(STRATA_CUDA(driver, cuMemcpyHtoDAsync, to, slot_->bytes, bytes, stream));
  return record();
}

Result<void> StagingBuffer::record() {
  STRATA_TRY(STRATA_CUDA(owner_->device_.driver(), cuEventRecord, slot_->event, slot_->busy_on));
  slot_->has_event = true;
  return {};
}

Result<void> StagingBuffer::wait() {
  if (!slot_->busy_on) return {};
  const Driver& driver = owner_->device_.driver();
  if (slot_->has_event) {
    STRATA_TRY(STRATA_CUDA(driver, cuEventSynchronize, slot_->event));
  } else {
    STRATA_TRY(STRATA_CUDA(driver, cuStreamSynchronize, slot_->busy_on));
  }
  slot_->busy_on = nullptr;
  slot_->has_event = false;
  return {};
}

void StagingBuffer::leave() {
  if (slot_) owner_->give_back(*std::exchange(slot_, nullptr));
}

StagingBuffers::StagingBuffers(Device& device, StagingOptions options)
    : device_(device), options_(options) {}

StagingBuffers::~StagingBuffers() {
  const Driver& driver = device_.driver();
  if (slots_.empty() || !driver.is_usable()) return;
  const auto scope = device_.enter();
  if (!scope) return;
  for (const CuStream stream : streams_) {
    if (!stream) continue;
    (void)driver.call().cuStreamSynchronize(stream);
    (void)driver.call().cuStreamDestroy(stream);
  }
  for (const auto& slot : slots_)
    destroy(*slot);
}

Result<StagingBuffer> StagingBuffers::take() {
  std::unique_lock lock(mutex_);
  given_back_.wait(lock, [&] { return !free_.empty() || slots_.size() < options_.buffers; });
  return take_or_make(lock);
}

Result<StagingBuffer> StagingBuffers::take_if_free() {
  std::unique_lock lock(mutex_);
  if (free_.empty() && slots_.size() >= options_.buffers) return StagingBuffer();
  return take_or_make(lock);
}

// There is one that is free, or may be made.
Result<StagingBuffer> StagingBuffers::take_or_make(std::unique_lock<std::mutex>& lock) {
  if (!free_.empty()) {
    StagingBuffer taken(*this, *free_.front());
    free_.pop_front();
    lock.unlock();
    STRATA_TRY(taken.wait());
    return taken;
  }
  auto made = std::make_unique<Slot>();
  STRATA_TRY(make(*made));
  slots_.push_back(std::move(made));
  return StagingBuffer(*this, *slots_.back());
}

Result<void> StagingBuffers::make(Slot& slot) const {
  const Driver& driver = device_.driver();
  STRATA_ASSIGN(const ContextScope scope, device_.enter());
  void* bytes = nullptr;
  auto pinned =
      STRATA_CUDA(driver, cuMemHostAlloc, &bytes, options_.buffer_bytes, kHostAllocPortable);
  if (!pinned) {
    return unexpected(
        pinned.error().in(fmt::format("pin {} of host memory for copies of {}",
                                      format_bytes(options_.buffer_bytes), device_.describe())));
  }
  slot.bytes = static_cast<std::byte*>(bytes);
  auto made = STRATA_CUDA(driver, cuEventCreate, &slot.event, kEventDisableTiming);
  if (!made) destroy(slot);
  return made;
}

void StagingBuffers::destroy(Slot& slot) const {
  const DriverTable& call = device_.driver().call();
  if (slot.event) (void)call.cuEventDestroy(slot.event);
  (void)call.cuMemFreeHost(slot.bytes);
}

void StagingBuffers::give_back(Slot& slot) {
  {
    const std::lock_guard lock(mutex_);
    // What is idle is taken first, and is in the cache still; then what has been busy for longest.
    if (slot.busy_on) {
      free_.push_back(&slot);
    } else {
      free_.push_front(&slot);
    }
  }
  given_back_.notify_one();
}

Result<CuStream> StagingBuffers::stream(CopyDirection direction) {
  const std::lock_guard lock(mutex_);
  CuStream& stream = streams_[static_cast<std::size_t>(direction)];
  if (!stream) {
    STRATA_TRY(STRATA_CUDA(device_.driver(), cuStreamCreate, &stream, kStreamNonBlocking));
  }
  return stream;
}

Result<void> StagingBuffers::order_after_default_stream(CopyDirection direction) {
  const Driver& driver = device_.driver();
  STRATA_ASSIGN(CuStream const stream, this->stream(direction));
  CuEvent now = nullptr;
  STRATA_TRY(STRATA_CUDA(driver, cuEventCreate, &now, kEventDisableTiming));
  auto done = STRATA_CUDA(driver, cuEventRecord, now, nullptr);
  if (done) done = STRATA_CUDA(driver, cuStreamWaitEvent, stream, now, 0);
  // The driver keeps it until it has passed.
  (void)driver.call().cuEventDestroy(now);
  return done;
}

Result<void> StagingBuffers::wait_for_all(CopyDirection direction) {
  STRATA_ASSIGN(CuStream const stream, this->stream(direction));
  return STRATA_CUDA(device_.driver(), cuStreamSynchronize, stream);
}

std::uint64_t StagingBuffers::pinned_bytes() const {
  const std::lock_guard lock(mutex_);
  return slots_.size() * options_.buffer_bytes;
}

}  // namespace strata::inline v0_1::cuda
