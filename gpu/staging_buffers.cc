#include "gpu/staging_buffers.h"

#include <fmt/format.h>

#include <chrono>

#include "gpu/driver.h"
#include "gpu/leftovers.h"

namespace strata::inline v0_1::cuda {
namespace {

// So that a buffer serves copies of other devices too.
constexpr unsigned kHostAllocPortable = 1;

constexpr std::string_view kCopyOfPiece = "a copy between its memory and the host's";

struct PinnedBuffer {
  std::byte* bytes = nullptr;
  CuEvent event = nullptr;
};

// What is given back at the end, in this order: nothing is unpinned that a stream still copies to.
struct Remains {
  Device& device;
  std::array<CuStream, 2> streams;
  std::vector<PinnedBuffer> buffers;

  bool give_back() {
    const auto scope = device.enter();
    if (!scope) return scope.error().driver_result() == kDeinitialized;
    const DriverTable& call = device.driver().call();
    for (CuStream& stream : streams) {
      if (!stream || call.cuStreamQuery(stream) == kNotReady) continue;
      (void)call.cuStreamDestroy(stream);
      stream = nullptr;
    }
    if (streams[0] || streams[1]) return false;
    std::erase_if(buffers, [&](PinnedBuffer& buffer) {
      if (buffer.event) (void)call.cuEventDestroy(std::exchange(buffer.event, nullptr));
      return is_given_back(call.cuMemFreeHost(buffer.bytes));
    });
    return buffers.empty();
  }
};

void give_back_remains(std::shared_ptr<Remains> remains, std::uint64_t buffer_bytes) {
  const Driver& driver = remains->device.driver();
  const std::uint64_t bytes = remains->buffers.size() * buffer_bytes;
  give_back_or_keep(driver, bytes, [remains = std::move(remains)] { return remains->give_back(); });
}

}  // namespace

struct StagingBuffer::Slot {
  std::byte* bytes = nullptr;
  CuEvent event = nullptr;
  // Where a copy was begun that was not seen to end, and whether the event stands behind it.
  CuStream busy_on = nullptr;
  CopyDirection direction = CopyDirection::to_host;
  bool has_event = false;
};

StagingBuffer& StagingBuffer::operator=(StagingBuffer&& other) noexcept {
  std::swap(owner_, other.owner_);
  std::swap(slot_, other.slot_);
  return *this;
}

StagingBuffer::~StagingBuffer() {
  if (!slot_) return;
  if (slot_->busy_on && !owner_->is_late(slot_->direction) &&
      owner_->device_.driver().is_usable()) {
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
  slot_->direction = CopyDirection::to_host;
  STRATA_TRY(STRATA_CUDA(driver, cuMemcpyDtoHAsync, slot_->bytes, from, bytes, stream));
  return record();
}

Result<void> StagingBuffer::begin_copy_to(CuDevicePointer to, std::uint64_t bytes) {
  const Driver& driver = owner_->device_.driver();
  STRATA_ASSIGN(CuStream const stream, owner_->stream(CopyDirection::to_device));
  slot_->busy_on = stream;
  slot_->direction = CopyDirection::to_device;
  STRATA_TRY(STRATA_CUDA(driver, cuMemcpyHtoDAsync, to, slot_->bytes, bytes, stream));
  return record();
}

Result<void> StagingBuffer::record() {
  STRATA_TRY(STRATA_CUDA(owner_->device_.driver(), cuEventRecord, slot_->event, slot_->busy_on));
  slot_->has_event = true;
  return {};
}

Result<void> StagingBuffer::wait(std::uint64_t stall_ms) {
  if (!slot_->busy_on) return {};
  const Device& device = owner_->device_;
  const Deadline deadline = Deadline::after_ms(stall_ms);
  STRATA_TRY(owner_->noted(slot_->direction,
                           slot_->has_event
                               ? await_event(device, slot_->event, deadline, kCopyOfPiece)
                               : await_stream(device, slot_->busy_on, deadline, kCopyOfPiece)));
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
  if ((slots_.empty() && !streams_[0] && !streams_[1]) || !driver.is_usable()) return;
  if (const auto scope = device_.enter()) {
    for (const auto direction : {CopyDirection::to_host, CopyDirection::to_device}) {
      const bool is_used = streams_[static_cast<std::size_t>(direction)] != nullptr;
      if (is_used && !is_late(direction)) (void)wait_for_all(direction);
    }
  }
  auto remains = std::make_shared<Remains>(Remains{device_, streams_, {}});
  for (const auto& slot : slots_)
    remains->buffers.push_back({slot->bytes, slot->event});
  give_back_remains(std::move(remains), options_.buffer_bytes);
}

Result<StagingBuffer> StagingBuffers::take(std::uint64_t stall_ms) {
  std::unique_lock lock(mutex_);
  const auto has_one = [&] { return !free_.empty() || slots_.size() < options_.buffers; };
  if (!given_back_.wait_for(lock, std::chrono::milliseconds(stall_ms), has_one)) {
    return fail(Code::timed_out,
                fmt::format("{}: all {} buffers for its copies have been in use by other threads "
                            "for {} ms",
                            device_.describe(), options_.buffers, stall_ms));
  }
  return take_or_make(lock, stall_ms);
}

Result<StagingBuffer> StagingBuffers::take_if_free(std::uint64_t stall_ms) {
  std::unique_lock lock(mutex_);
  if (free_.empty() && slots_.size() >= options_.buffers) return StagingBuffer();
  return take_or_make(lock, stall_ms);
}

// There is one that is free, or may be made.
Result<StagingBuffer> StagingBuffers::take_or_make(std::unique_lock<std::mutex>& lock,
                                                   std::uint64_t stall_ms) {
  if (!free_.empty()) {
    StagingBuffer taken(*this, *free_.front());
    free_.pop_front();
    lock.unlock();
    STRATA_TRY(taken.wait(stall_ms));
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
  (void)retry_leftovers();
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
  if (!made) {
    give_back_remains(std::make_shared<Remains>(Remains{device_, {}, {{slot.bytes, nullptr}}}),
                      options_.buffer_bytes);
  }
  return made;
}

Result<void> StagingBuffers::noted(CopyDirection direction, Result<void> waited) {
  is_late_[static_cast<std::size_t>(direction)] =
      !waited && waited.error().code() == Code::timed_out;
  return waited;
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

Result<void> StagingBuffers::wait_for_all(CopyDirection direction, std::uint64_t stall_ms) {
  STRATA_ASSIGN(CuStream const stream, this->stream(direction));
  const Deadline deadline = Deadline::after_ms(stall_ms);
  return noted(direction, await_queued(device_, stream, deadline, kCopyOfPiece));
}

std::uint64_t StagingBuffers::pinned_bytes() const {
  const std::lock_guard lock(mutex_);
  return slots_.size() * options_.buffer_bytes;
}

}  // namespace strata::inline v0_1::cuda
