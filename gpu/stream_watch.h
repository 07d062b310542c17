// Looking after the streams of this process that wait for a timeline: one thread sees to it that
// none of them hangs for ever. Where the owner of a slot has died, or the deadline of a wait has
// passed, it poisons the slot by a plain store, with no call of the driver.
//   Threads:  any. The thread starts with the first wait, takes no signals, and sleeps while
//   nothing
//             is outstanding.
//   Lifetime: a wait is looked after until its stream has passed it, also when nobody is interested
//             in it any more: it keeps the timeline's page, and the segment, for as long.
//   Errors:   exhausted where no thread can be started.
//   Cost:     200 looks a second while something is outstanding, each one system call for each
//             owner.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "gpu/timeline_mapping.h"
#include "gpu/timeline_slot.h"
#include "strata/base/result.h"
#include "strata/os/deadline.h"

namespace strata::inline v0_1::cuda {

// A wait of a stream.
struct StreamWait {
  enum class Outcome : std::uint8_t { pending, reached, failed };

  StreamWait(std::shared_ptr<TimelineMapping> mapping, unsigned slot, const AwaitedSignal& awaited,
             Deadline deadline)
      : mapping(std::move(mapping)), slot(slot), awaited(awaited), deadline(deadline) {}

  // Whether the stream has passed it, and how. Any thread may be the one that finds it out.
  Outcome look();
  // What it failed of.
  Status failure() const;

  const std::shared_ptr<TimelineMapping> mapping;
  const unsigned slot;
  const AwaitedSignal awaited;
  const Deadline deadline;
  unsigned mark = 0;
  // The driver did not take the mark: nobody can see the stream pass, and its wait is let go of at
  // the deadline at the latest.
  std::atomic<bool> is_unmarked{false};

 private:
  std::atomic<Reading> reading_{Reading::pending};
};

// The claim of an owner who has ended while his streams still have signals to give.
struct LingeringClaim {
  std::shared_ptr<TimelineMapping> mapping;
  AwaitedSignal last;
};

class StreamWatch {
 public:
  // That of this process; a forked child has one of its own.
  static StreamWatch& of(Os& os);

  // Before the wait is queued. Errors: exhausted.
  Result<void> add(std::shared_ptr<StreamWait> wait);
  // A wait that was never queued.
  void forget(const StreamWait& wait);
  // Ends the claim as soon as the last signal is there. Where no thread can be started it ends with
  // the process.
  void linger(LingeringClaim claim);
  // Looks at all of them now.
  void look();
  // Whoever lets go of a wait calls this after it.
  void drop_finished();

 private:
  explicit StreamWatch(int pid) : pid_(pid) {}
  Result<void> start();
  void run();
  void look_locked();
  void finish(std::shared_ptr<StreamWait> wait);

  const int pid_;
  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  bool is_started_ = false;
  std::vector<std::shared_ptr<StreamWait>> waits_;
  std::vector<LingeringClaim> claims_;
  // Their end may call the driver, and that may wait for streams which only this thread lets go:
  // so others do it. What nobody else holds goes to a thread of its own.
  std::vector<std::shared_ptr<void>> finished_;
  std::vector<std::shared_ptr<void>> orphans_;
};

}  // namespace strata::inline v0_1::cuda
