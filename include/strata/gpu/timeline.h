// A Timeline orders the work of several processes on one device segment. It has 64 slots; each has
// one owner, who signals 1, 2, 3, …, from a stream or from the host, and any number of followers,
// whose streams or threads wait until a signal has come.
//
//     // the producer
//     auto timeline = Timeline::open(segment);
//     auto filled = timeline->claim(0);
//     … fill the buffer on `stream` …
//     filled->signal(stream, 1);
//
//     // a consumer
//     auto timeline = Timeline::open(segment);
//     auto filled = timeline->follow(0, soon);
//     auto wait = filled->wait(stream, 1, soon);
//     … use the buffer on `stream` …
//     wait->result(soon);
//
// No stream hangs for ever: where the owner has died, or the deadline has passed, the waiting
// process poisons the slot, which ends all waits for it. **What a stream did after such a wait is
// worth nothing**: only PendingWait tells whether the signal came. The next claim begins anew,
// at 1.
//   Threads:  any, each of its own values too; one Signaller signals from one thread at a time.
//   Lifetime: values hold what they need, also the segment. A forked child opens the segment and
//             its timeline anew. A Signaller that ends gives its slot back once its streams have
//             signalled all that was queued.
//   Errors:   failed_precondition: the owner has died or ended, or the slot is another's by now;
//             timed_out: a deadline passed; unsupported where streams cannot wait for memory, or
//             the timeline was opened without a device: the host can always.
//   Cost:     signal(stream): two calls of the driver; wait(stream): four, and none where the
//             signal is there already; signal(): a store.
//   Persists: no.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "strata/base/result.h"
#include "strata/gpu/cuda_types.h"
#include "strata/os/deadline.h"
#include "strata/segment/segment.h"

namespace strata::inline v0_1 {
class Os;  // hidden: declared outside of the pragma
}

#pragma GCC visibility push(default)

namespace strata::inline v0_1::cuda {

struct AwaitedSignal;
struct StreamWait;
struct TimelineParts;
class TimelineMapping;

// The owner's side of a slot.
class Signaller {
 public:
  Signaller(Signaller&&) noexcept = default;
  Signaller& operator=(Signaller&&) = delete;
  ~Signaller();

  // The signal `number` comes once the stream has done what was queued before. Numbers ascend, in
  // the order of the calls and in that of the streams; they may leave some out.
  // Errors: invalid_argument; failed_precondition where the slot was given up or taken over.
  Result<void> signal(CuStream stream, std::uint64_t number);
  // The same at once.
  Result<void> signal(std::uint64_t number);

  std::uint32_t epoch() const { return epoch_; }

 private:
  friend class Timeline;
  Signaller(std::shared_ptr<TimelineMapping> mapping, unsigned slot, std::uint32_t epoch)
      : mapping_(std::move(mapping)), slot_(slot), epoch_(epoch) {}
  Result<void> check(std::uint64_t number) const;

  std::shared_ptr<TimelineMapping> mapping_;
  unsigned slot_;
  std::uint32_t epoch_;
  std::uint64_t last_ = 0;
};

// What became of the wait of a stream. Dropping it does not end the wait.
class PendingWait {
 public:
  PendingWait(PendingWait&&) noexcept = default;
  PendingWait& operator=(PendingWait&&) = delete;
  ~PendingWait();

  // Whether the stream has passed the wait by a signal; false: it is still before it.
  // Errors: failed_precondition, timed_out, corrupt: the wait was ended without a signal.
  Result<bool> is_reached() const;
  // Waits until the stream has passed it. Errors: as is_reached(); not_ready: it has not yet.
  Result<void> result(Deadline deadline) const;

 private:
  friend class Follower;
  PendingWait() = default;  // of a signal that was there already
  explicit PendingWait(std::shared_ptr<StreamWait> wait);

  std::shared_ptr<StreamWait> wait_;
  int pid_ = 0;
};

// A follower's side of a slot, in the epoch that it had when it was followed.
class Follower {
 public:
  // Lets the stream wait for the signal. Errors: as a wait that has failed already;
  // invalid_argument; unsupported; exhausted.
  Result<PendingWait> wait(CuStream stream, std::uint64_t number, Deadline deadline) const;
  // Lets this thread wait. Where the deadline passes, nothing has changed. Errors: see above.
  Result<void> wait(std::uint64_t number, Deadline deadline) const;
  // Whether the signal has come, without waiting. Errors: as wait().
  Result<bool> is_reached(std::uint64_t number) const;

  std::uint32_t epoch() const { return epoch_; }

 private:
  friend class Timeline;
  Follower(std::shared_ptr<TimelineMapping> mapping, unsigned slot, std::uint32_t epoch)
      : mapping_(std::move(mapping)), slot_(slot), epoch_(epoch) {}
  Result<AwaitedSignal> awaited(std::uint64_t number) const;

  std::shared_ptr<TimelineMapping> mapping_;
  unsigned slot_;
  std::uint32_t epoch_;
};

class Timeline {
 public:
  // Of a `cuda:` segment, with the device that it is attached to.
  // Errors: unsupported for other memory; as Segment::participant(); those of the driver.
  static Result<Timeline> open(Segment& segment);
  // Of a `cuda:` segment whose headers are in `directory`, for a process that has no driver or
  // needs none of the memory: it signals and waits on the host. It counts as no user of the memory.
  // Errors: not_found; corrupt; failed_precondition once sealed; permission_denied.
  static Result<Timeline> open_on_host(const SegmentUri& uri,
                                       const std::string& directory = "/dev/shm");
  static Result<Timeline> open_on_host(Os& os, const std::string& directory, const SegmentUri& uri);
  // Of a page that somebody has opened already.
  static Result<Timeline> open(TimelineParts parts);

  // Makes this process the owner of a slot. Errors: invalid_argument beyond 63; already_exists
  // while a living process has it.
  Result<Signaller> claim(unsigned slot);
  // Follows its owner, who may have ended or died already: what was signalled stays signalled.
  // Errors: not_ready where nobody has claimed it before the deadline; invalid_argument.
  Result<Follower> follow(unsigned slot, Deadline deadline);

 private:
  explicit Timeline(std::shared_ptr<TimelineMapping> mapping) : mapping_(std::move(mapping)) {}
  std::shared_ptr<TimelineMapping> mapping_;
};

}  // namespace strata::inline v0_1::cuda
#pragma GCC visibility pop
