// Looking again and again for what no futex announces: a device that writes to memory wakes nobody.
//   Threads:  one; a value on its stack.
//   Cost:     some microseconds of looking without a pause (or none, where a look is a call of the
//             kernel), then sleeps of an eighth of the time waited so far, up to a quarter of a
//             millisecond: at most 4,000 looks a second.
#pragma once

#include <algorithm>
#include <cstdint>

#include "os/os.h"
#include "strata/os/deadline.h"
#include "strata/sync/wait.h"

namespace strata::inline v0_1::cuda {

class Poll {
 public:
  enum class Looks : std::uint8_t { cheap, costly };

  Poll(Os& os, Deadline deadline, Looks looks = Looks::cheap)
      : os_(os), deadline_(deadline), looks_(looks == Looks::cheap ? 0 : kLooksWithoutPause) {}

  bool expired() const { return deadline_.expired(); }

  void pause() {
    if (looks_ < kLooksWithoutPause) {
      ++looks_;
      relax_cpu();
      return;
    }
    const std::uint64_t waited_ns = monotonic_ns() - since_ns_;
    const std::uint64_t sleep_ns = std::clamp(waited_ns / 8, kLeastSleepNs, kMostSleepNs);
    os_.sleep_ns(std::min(sleep_ns, deadline_.remaining_ns()));
  }

 private:
  static constexpr unsigned kLooksWithoutPause = 400;
  static constexpr std::uint64_t kLeastSleepNs = 2'000;
  static constexpr std::uint64_t kMostSleepNs = 250'000;

  Os& os_;
  Deadline deadline_;
  std::uint64_t since_ns_ = monotonic_ns();
  unsigned looks_;  // so far, up to kLooksWithoutPause
};

}  // namespace strata::inline v0_1::cuda
