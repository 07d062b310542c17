// The timeline page of one segment in this process: mapped for writing, and registered with the
// driver so that streams write and wait for its words.
//   Threads:  any.
//   Lifetime: held by whoever signals, follows or waits; ends with the last of them. The end calls
//             the driver, which may wait for streams.
//   Errors:   see each function.
//   Cost:     open: three system calls, and with a device two calls of the driver. The first wait
//             of a stream registers one page more.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "gpu/timeline_page.h"
#include "os/os.h"
#include "strata/base/result.h"
#include "strata/gpu/device.h"
#include "strata/sync/owner.h"

namespace strata::inline v0_1::cuda {

struct TimelineParts {
  Os* os = nullptr;
  int fd = -1;  // the file that the page is in, borrowed; reopened for writing
  std::uint64_t offset_bytes = 0;
  // Who this process is in the segment; it holds what it needs.
  std::shared_ptr<const Owner> owner;
  Device* device = nullptr;  // none: only the host signals and waits
  std::string name;          // of the segment, for messages
};

// Pages that the driver knows, for as long as this lives.
class RegisteredPages {
 public:
  static Result<RegisteredPages> make(Device& device, std::byte* pages, std::size_t bytes);
  RegisteredPages(RegisteredPages&& other) noexcept
      : device_(std::exchange(other.device_, nullptr)),
        pages_(other.pages_),
        bytes_(other.bytes_),
        address_(other.address_) {}
  RegisteredPages& operator=(RegisteredPages&&) = delete;
  ~RegisteredPages();

  CuDevicePointer address() const { return address_; }
  // False where the driver would not let go of them. Then they must stay mapped, and it is asked
  // again (gpu/leftovers.h) until they are unmapped there.
  bool end();

 private:
  RegisteredPages(Device& device, std::byte* pages, std::size_t bytes)
      : device_(&device), pages_(pages), bytes_(bytes) {}
  Device* device_;
  std::byte* pages_;
  std::size_t bytes_;
  CuDevicePointer address_ = 0;
};

class TimelineMapping {
 public:
  static Result<std::shared_ptr<TimelineMapping>> open(TimelineParts parts);
  ~TimelineMapping();
  TimelineMapping(const TimelineMapping&) = delete;
  TimelineMapping& operator=(const TimelineMapping&) = delete;

  Os& os() const { return *parts_.os; }
  const Owner& owner() const { return *parts_.owner; }
  Device* device() const { return parts_.device; }
  TimelineSlot& slot(unsigned number) const { return page_->slots[number]; }
  // "cuda:x: timeline slot 3", for messages.
  std::string describe(unsigned slot) const;

  // Queue one operation on the value of a slot. Errors: unsupported without a device, and where
  // the device has no stream memory operations; those of the driver.
  Result<void> check_streams() const;
  Result<void> queue_write(CuStream stream, unsigned slot, std::uint64_t value);
  Result<void> queue_wait(CuStream stream, unsigned slot, std::uint64_t value);

  // Marks are words of this process alone, which a stream sets when it has come that far.
  // Errors: exhausted.
  Result<unsigned> take_mark();
  void give_mark_back(unsigned mark);
  Result<void> queue_mark(CuStream stream, unsigned mark);
  bool is_marked(unsigned mark) const;

 private:
  explicit TimelineMapping(TimelineParts parts) : parts_(std::move(parts)) {}
  Result<void> map();
  Result<void> make_marks();
  // Makes a context of the device current, unless one is.
  Result<std::optional<ContextScope>> enter() const;

  TimelineParts parts_;
  TimelinePage* page_ = nullptr;
  std::optional<RegisteredPages> registered_;
  bool has_stream_values_ = false;

  std::mutex mutex_;  // of what follows
  std::byte* mark_page_ = nullptr;
  std::optional<RegisteredPages> registered_marks_;
  std::vector<unsigned> free_marks_;
};

}  // namespace strata::inline v0_1::cuda
