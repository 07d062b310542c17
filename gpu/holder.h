// A holder keeps the memory of a device segment while nobody is attached: it has the descriptor,
// hands it on, keeps the device's file open, and makes no call of the driver.
//
//     STRATA_ASSIGN(auto holder, SegmentHolder::hold(os, server, options, uri));
//     STRATA_TRY(keep_until_over(os, holders, stop_event));
//
//   Threads:  one; what others ask of it is done in the server's thread.
//   Lifetime: its lease is that of a reader, so that the segment counts as attached. Whoever wants
//             to remove the segment asks it to leave: it lets go of the lease and keeps the memory,
//             and takes the lease again where the segment is not removed within seconds.
//   Errors:   hold: as attach, without those of a driver; unsupported for memory that is not shared
//             by a descriptor, which ends with its creator; permission_denied for another user's.
//   Cost:     a descriptor hand-over; then a look at the header ten times a second.
//   Persists: no. A killed holder holds nothing.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gpu/descriptor_exchange.h"
#include "gpu/device_files.h"
#include "gpu/export_block.h"
#include "os/os.h"
#include "segment/header_plane.h"
#include "strata/base/result.h"
#include "strata/segment/uri.h"

namespace strata::inline v0_1::cuda {

struct HolderOptions {
  std::string directory = {};  // of the headers
  std::string device_directory = "/dev";
  std::uint64_t timeout_ms = 10'000;  // to have it
};

enum class HolderEnd : std::uint8_t {
  removed,          // retired, or its name is gone
  never_published,  // its creator died before
};
std::string_view holder_end_name(HolderEnd end);

class SegmentHolder {
 public:
  // A segment that its creator still fills is held already.
  static Result<std::unique_ptr<SegmentHolder>> hold(Os& os, DescriptorServer& server,
                                                     const HolderOptions& options,
                                                     const SegmentUri& uri);
  ~SegmentHolder();
  SegmentHolder(const SegmentHolder&) = delete;
  SegmentHolder& operator=(const SegmentHolder&) = delete;

  // Looks whether the segment is still there; then it lets go of everything.
  std::optional<HolderEnd> look();
  // It was asked to leave, and is about to see why.
  bool has_left() const { return has_left_; }
  // Readable when it was asked to leave; borrowed.
  int asked_event() const { return asked_.get(); }

  const SegmentUri& uri() const { return uri_; }
  std::uint64_t bytes() const { return exported_.allocation_bytes; }
  // What it keeps open beside the memory; for people.
  const std::string& note() const { return files_.note; }

 private:
  SegmentHolder(Os& os, SegmentUri uri) : os_(os), uri_(std::move(uri)) {}
  Result<void> open_header(const HolderOptions& options, Deadline deadline);
  Result<ExportBlock> await_export_block(Deadline deadline) const;
  Result<void> take_over(DescriptorServer& server, const HolderOptions& options, Deadline deadline);
  std::optional<HolderEnd> end_of_segment() const;
  bool is_creator_alive() const;
  void leave();
  void come_back();
  void let_go();

  Os& os_;
  SegmentUri uri_;
  std::unique_ptr<HeaderPlane> plane_;
  std::byte* page_ = nullptr;
  IdentityBlock identity_{};
  ExportBlock exported_{};
  Fd asked_;
  std::mutex mutex_;  // of the lease
  std::atomic<bool> has_left_{false};
  std::optional<Deadline> until_back_;  // under mutex_
  DeviceFiles files_;
  std::unique_ptr<ServedDescriptor> served_;
  std::optional<HolderEnd> end_;
};

// Looks after all of them until each is over, or `stop_event` is readable (-1: never), and drops
// those that are over. Errors: of waiting.
Result<void> keep_until_over(Os& os, std::vector<std::unique_ptr<SegmentHolder>>& holders,
                             int stop_event);

// Starts `holder_command` with the URI after it, as a process of its own that outlives this one,
// and returns once it holds the segment: it says so by a line on its standard output.
// Errors: what the holder says; timed_out.
Result<void> start_holder(const std::vector<std::string>& holder_command, const SegmentUri& uri,
                          Deadline deadline);

}  // namespace strata::inline v0_1::cuda
