// Waiting in slices: whoever sleeps on a futex wakes now and then and looks around. So a wake-up
// lost with a killed process, or an owner that died, delays the others and never hangs them.
//
// A poll, whose deadline is now, does none of this: it looks once, leaves no mark of a sleeper, and
// fails with a message of numbers that nobody has to put together (LateMessage). Only a wait that
// was long says in full who was in the way.
#pragma once

#include <algorithm>
#include <cstdint>

#include "strata/os/deadline.h"
#include "strata/os/futex.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// Tells the processor that this is a spin loop.
inline void relax_cpu() { __builtin_ia32_pause(); }

// One wait of one thread: slices that grow from 8 ms to 32 ms.
class SlicedWait {
 public:
  explicit SlicedWait(Deadline deadline) : deadline_(deadline) {}

  bool expired() const { return deadline_.expired(); }
  // It has slept for so long that some ms more, for a look through /proc, are nothing.
  bool is_long() const { return since_ns_ != 0 && monotonic_ns() - since_ns_ >= kLongNs; }

  // Sleeps while `word` holds `expected`, for one slice at most. True where the slice was slept
  // to its end without a wake: time to ask whether the one waited for still lives.
  bool sleep(const std::atomic<std::uint32_t>& word, std::uint32_t expected) {
    if (since_ns_ == 0) since_ns_ = monotonic_ns();
    const Deadline until = deadline_.slice(slice_ns_);
    slice_ns_ = std::min(slice_ns_ * 2, kMaxSliceNs);
    return futex_wait(word, expected, until) == FutexWait::timed_out;
  }

 private:
  static constexpr std::uint64_t kMinSliceNs = 8'000'000;
  static constexpr std::uint64_t kMaxSliceNs = 32'000'000;
  static constexpr std::uint64_t kLongNs = 1'000'000'000;

  Deadline deadline_;
  std::uint64_t slice_ns_ = kMinSliceNs;
  std::uint64_t since_ns_ = 0;  // the first sleep; 0 before
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
