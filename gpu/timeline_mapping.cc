#include "gpu/timeline_mapping.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <atomic>

#include "gpu/driver.h"
#include "gpu/leftovers.h"
#include "strata/base/bytes.h"

namespace strata::inline v0_1::cuda {
namespace {

constexpr unsigned kMarks = kPageBytes / sizeof(std::uint64_t);
constexpr unsigned kRegisterFlags = kHostRegisterPortable | kHostRegisterDeviceMap;

std::atomic<std::uint64_t>& mark_word(std::byte* page, unsigned mark) {
  return reinterpret_cast<std::atomic<std::uint64_t>*>(page)[mark];
}

bool unregister(Device& device, std::byte* pages) {
  const auto scope = device.enter();
  if (!scope) return scope.error().driver_result() == kDeinitialized;
  return is_given_back(device.driver().call().cuMemHostUnregister(pages));
}

}  // namespace

Result<RegisteredPages> RegisteredPages::make(Device& device, std::byte* pages, std::size_t bytes) {
  const Driver& driver = device.driver();
  STRATA_ASSIGN(const ContextScope scope, device.enter());
  (void)retry_leftovers();
  STRATA_TRY(STRATA_CUDA(driver, cuMemHostRegister, pages, bytes, kRegisterFlags));
  RegisteredPages made(device, pages, bytes);
  STRATA_TRY(STRATA_CUDA(driver, cuMemHostGetDevicePointer, &made.address_, pages, 0));
  return made;
}

RegisteredPages::~RegisteredPages() {
  // Of what was never used, which is unmapped by whoever wanted it.
  if (device_ && device_->driver().is_usable()) (void)unregister(*device_, pages_);
}

bool RegisteredPages::end() {
  Device* const device = std::exchange(device_, nullptr);
  if (!device || !device->driver().is_usable() || unregister(*device, pages_)) return true;
  keep_leftover(device->driver(), bytes_, [device, pages = pages_, bytes = bytes_] {
    if (!unregister(*device, pages)) return false;
    (void)RealOs().munmap(pages, bytes);
    return true;
  });
  return false;
}

Result<std::shared_ptr<TimelineMapping>> TimelineMapping::open(TimelineParts parts) {
  std::shared_ptr<TimelineMapping> mapping(new TimelineMapping(std::move(parts)));
  if (auto mapped = mapping->map(); !mapped) {
    return unexpected(mapped.error().in("timeline of " + mapping->parts_.name));
  }
  return mapping;
}

Result<void> TimelineMapping::map() {
  Os& os = *parts_.os;
  if (parts_.owner->token() == 0) {
    return fail(Code::failed_precondition, "this process was forked: open the segment anew");
  }
  STRATA_ASSIGN(const Fd file, os.reopen(parts_.fd, O_RDWR));
  STRATA_ASSIGN(const struct stat stat, os.fstat(file.get()));
  if (static_cast<std::uint64_t>(stat.st_size) < parts_.offset_bytes + kTimelineBytes) {
    return fail(Code::corrupt,
                fmt::format("its header file has {} bytes and no timeline page", stat.st_size));
  }
  STRATA_ASSIGN(
      std::byte* const page,
      os.mmap({.bytes = kTimelineBytes, .fd = file.get(), .offset_bytes = parts_.offset_bytes}));
  page_ = reinterpret_cast<TimelinePage*>(page);
  if (!parts_.device) return {};
  STRATA_ASSIGN(auto registered, RegisteredPages::make(*parts_.device, page, kTimelineBytes));
  registered_.emplace(std::move(registered));
  if (!parts_.device->driver().require(DriverFeature::stream_values)) return {};
  STRATA_ASSIGN(const int has, parts_.device->attribute(kAttributeCanUse64BitStreamMemOps));
  has_stream_values_ = has != 0;
  return {};
}

TimelineMapping::~TimelineMapping() {
  if (registered_marks_ && !registered_marks_->end()) mark_page_ = nullptr;
  if (registered_ && !registered_->end()) page_ = nullptr;
  if (mark_page_) (void)os().munmap(mark_page_, kPageBytes);
  if (page_) (void)os().munmap(page_, kTimelineBytes);
}

std::string TimelineMapping::describe(unsigned slot) const {
  return fmt::format("{}: timeline slot {}", parts_.name, slot);
}

Result<std::optional<ContextScope>> TimelineMapping::enter() const {
  Device& device = *parts_.device;
  CuDevice current = 0;
  // A stream of a context that the caller made itself is used in that one.
  if (device.driver().call().cuCtxGetDevice(&current) == kSuccess && current == device.number()) {
    return std::optional<ContextScope>();
  }
  STRATA_ASSIGN(ContextScope scope, device.enter());
  return std::optional<ContextScope>(std::move(scope));
}

Result<void> TimelineMapping::check_streams() const {
  if (has_stream_values_) return {};
  return fail(Code::unsupported,
              parts_.device ? fmt::format("streams of {} cannot wait for a word of memory: "
                                          "signal and wait on the host",
                                          parts_.device->describe())
                            : "it was opened without a device: signal and wait on the host");
}

Result<void> TimelineMapping::queue_write(CuStream stream, unsigned slot, std::uint64_t value) {
  STRATA_TRY(check_streams());
  STRATA_ASSIGN(const auto scope, enter());
  return STRATA_CUDA(parts_.device->driver(), cuStreamWriteValue64, stream,
                     registered_->address() + slot * sizeof(TimelineSlot), value,
                     kWriteValueDefault);
}

Result<void> TimelineMapping::queue_wait(CuStream stream, unsigned slot, std::uint64_t value) {
  STRATA_TRY(check_streams());
  STRATA_ASSIGN(const auto scope, enter());
  return STRATA_CUDA(parts_.device->driver(), cuStreamWaitValue64, stream,
                     registered_->address() + slot * sizeof(TimelineSlot), value, kWaitValueGeq);
}

Result<void> TimelineMapping::make_marks() {
  if (!mark_page_) {
    // Shared with nobody, and yet not private: a fork would let the device write to one copy of it
    // and this process read the other.
    STRATA_ASSIGN(mark_page_,
                  os().mmap({.bytes = kPageBytes, .flags = MAP_SHARED | MAP_ANONYMOUS}));
  }
  STRATA_ASSIGN(auto registered, RegisteredPages::make(*parts_.device, mark_page_, kPageBytes));
  registered_marks_.emplace(std::move(registered));
  for (unsigned mark = 0; mark < kMarks; ++mark)
    free_marks_.push_back(kMarks - 1 - mark);
  return {};
}

Result<unsigned> TimelineMapping::take_mark() {
  STRATA_TRY(check_streams());
  const std::lock_guard lock(mutex_);
  if (!registered_marks_) STRATA_TRY(make_marks());
  if (free_marks_.empty()) {
    return fail(Code::exhausted,
                fmt::format("{} waits of streams are outstanding: let some end first", kMarks));
  }
  const unsigned mark = free_marks_.back();
  free_marks_.pop_back();
  mark_word(mark_page_, mark).store(0, std::memory_order_relaxed);
  return mark;
}

void TimelineMapping::give_mark_back(unsigned mark) {
  const std::lock_guard lock(mutex_);
  free_marks_.push_back(mark);
}

Result<void> TimelineMapping::queue_mark(CuStream stream, unsigned mark) {
  STRATA_ASSIGN(const auto scope, enter());
  return STRATA_CUDA(parts_.device->driver(), cuStreamWriteValue64, stream,
                     registered_marks_->address() + mark * sizeof(std::uint64_t), 1,
                     kWriteValueDefault);
}

bool TimelineMapping::is_marked(unsigned mark) const {
  return mark_word(mark_page_, mark).load(std::memory_order_acquire) != 0;
}

}  // namespace strata::inline v0_1::cuda
