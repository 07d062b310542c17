// Durability is how bytes of a segment become permanent: the one seam for flush and drain.
// On volatile memory it does nothing; on a pool it is libpmem2's; in tests it is a shadow image
// that receives only what was flushed and drained.
//   Threads:  any; drain() covers what the calling thread flushed.
//   Errors:   drain reports what the medium refused.
//   Cost:     volatile: one predictable branch.
#pragma once

#include <cstddef>
#include <cstring>

#include "strata/base/result.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class Durability {
 public:
  virtual ~Durability() = default;

  // Ask once and skip the calls altogether where this is true.
  virtual bool is_volatile() const { return true; }
  // The bytes become durable one unit at a time: 1, 64 or 4096. Within a unit, order is not
  // guaranteed before a drain.
  virtual std::size_t granularity_bytes() const { return 1; }

  // Starts writing the range out.
  virtual void flush(const void* address, std::size_t bytes) { (void)address, (void)bytes; }
  // Copies and flushes, past the caches where that is faster: `to` is then far away for whoever
  // reads it next. The ranges do not overlap.
  virtual void copy(void* to, const void* from, std::size_t bytes) {
    std::memcpy(to, from, bytes);
    flush(to, bytes);
  }
  // Returns once everything that this thread flushed is durable, and all that it copied is seen by
  // other threads.
  virtual Result<void> drain() { return {}; }

  Result<void> persist(const void* address, std::size_t bytes) {
    flush(address, bytes);
    return drain();
  }
};

// Of memory that does not survive: all calls do nothing.
Durability& volatile_durability();

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
