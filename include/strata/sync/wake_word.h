// A WakeWord is where sleepers of a primitive sleep: bit 0 says that there are some, the rest
// counts wake-ups. It carries no state of its own: what is waited for is looked at elsewhere.
//   Threads:  any thread of any attached process.
//   Lifetime: the segment must stay mapped. Zeroed bytes are a word without sleepers.
//   Errors:   none. Any value is possible; a wrong one costs a wake-up too many, or a slice.
//   Cost:     to wake where nobody sleeps, one load.
//   Persists: no; any left-over value will do.
// To sleep: prepare(), look whether what you wait for has come, then sleep(). To wake: make it
// come by a sequentially consistent write, then wake. One of the two sees the other.
#pragma once

#include <climits>
#include <cstdint>

#include "strata/sync/shared_word.h"
#include "strata/sync/wait.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class WakeWord {
 public:
  std::uint32_t prepare() {
    return word_.fetch_or(kSleepers, std::memory_order_seq_cst) | kSleepers;
  }

  bool has_woken_since(std::uint32_t ticket) const {
    return ((word_.load(std::memory_order_seq_cst) ^ ticket) & ~kSleepers) != 0;
  }

  // One slice at most; true where it was slept to its end.
  bool sleep(std::uint32_t ticket, SlicedWait& wait) {
    STRATA_STEP("before futex_wait");
    return wait.sleep(word_.futex(), ticket);
  }

  void wake_all() {
    std::uint32_t word = word_.load(std::memory_order_seq_cst);
    while ((word & kSleepers) != 0) {
      const std::uint32_t woken = (word + kOneWake) & ~kSleepers;
      if (!word_.compare_exchange(word, woken, std::memory_order_seq_cst)) continue;
      STRATA_STEP("before futex_wake");
      futex_wake(word_.futex(), INT_MAX);
      return;
    }
  }

  // The others, and whoever the woken one fails to serve since it was killed, look around at the
  // end of their slices.
  void wake_one() {
    if ((word_.load(std::memory_order_seq_cst) & kSleepers) == 0) return;
    std::uint32_t word = word_.fetch_add(kOneWake, std::memory_order_seq_cst) + kOneWake;
    STRATA_STEP("before futex_wake");
    if (futex_wake(word_.futex(), 1) > 0) return;
    // The mark was old. Somebody may have gone to sleep on it since: so wake once more after it
    // is gone. Whoever comes now marks the word anew.
    if (!word_.compare_exchange(word, word & ~kSleepers, std::memory_order_seq_cst)) return;
    STRATA_STEP("before futex_wake");
    futex_wake(word_.futex(), INT_MAX);
  }

  bool has_sleepers() const { return (word_.load(std::memory_order_relaxed) & kSleepers) != 0; }

 private:
  static constexpr std::uint32_t kSleepers = 1;
  static constexpr std::uint32_t kOneWake = 2;

  SharedWord<std::uint32_t> word_;
};

static_assert(sizeof(WakeWord) == 4);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
