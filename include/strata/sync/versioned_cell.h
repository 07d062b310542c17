// A VersionedCell is a 64-bit value with a version that every change counts. Comparing both at
// once tells a value that went from A to B and back to A from one that never changed.
//   Threads:  any thread of any attached process; lock-free.
//   Lifetime: the segment must stay mapped; never copied or moved. Zeroed bytes are {0, 0}.
//   Errors:   none. Any bytes are a value.
//   Cost:     one 16-byte compare-and-swap (cmpxchg16b) per change; a load is two or three loads.
//   Persists: the bytes do.
// A process that is killed has changed it or has not.
#pragma once

#include <cstdint>

#include "strata/sync/shared_word.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class alignas(16) VersionedCell {
 public:
  struct Snapshot {
    std::uint64_t value;
    std::uint64_t version;
    bool operator==(const Snapshot&) const = default;
  };

  VersionedCell() = default;
  VersionedCell(const VersionedCell&) = delete;
  VersionedCell& operator=(const VersionedCell&) = delete;

  // Value and version of one moment.
  Snapshot load() const {
    // Versions only grow: the same one before and after means that the value is of that version.
    for (;;) {
      const std::uint64_t before = version_.load(std::memory_order_acquire);
      const std::uint64_t value = value_.load(std::memory_order_acquire);
      if (version_.load(std::memory_order_acquire) == before) return {value, before};
      // Whoever changed it has got on, so that this is lock-free; not wait-free.
    }
  }
  // Puts `desired` in if nothing changed since `expected`, which is refreshed on failure.
  bool compare_exchange(Snapshot& expected, std::uint64_t desired);

 private:
  SharedWord<std::uint64_t> value_;    // 0
  SharedWord<std::uint64_t> version_;  // 8
};

static_assert(sizeof(VersionedCell) == 16);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
