// A Published word hands something from one process to another: publish() says "all that I wrote
// before is there", consume() sees that. It is the smallest way to pass bytes without a lock.
//   Threads:  any thread of any attached process.
//   Lifetime: the segment must stay mapped. Zeroed bytes are 0, which means "nothing yet".
//   Errors:   none; a value read is to be checked as any shared byte.
//   Cost:     a plain store and a plain load on x86.
//   Persists: the bytes do.
//
// What it prevents. Two plain stores, `data = 42; flag = 1;`, may be seen by another CPU in the
// other order, and the compiler may swap them as well: the reader finds the flag set and old data.
// publish() is a store with release: no write or read before it moves behind it. consume() is a
// load with acquire: no read or write after it moves before it. So whoever sees the value sees
// all that came before it. It does not order what publish() is followed by, and says nothing
// about two words: with `a.publish(1); b.consume()` here and `b.publish(1); a.consume()` there,
// both may read 0.
#pragma once

#include <cstdint>

#include "strata/sync/shared_word.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class Published {
 public:
  void publish(std::uint64_t value) { word_.store(value, std::memory_order_release); }
  // 0: nothing has been published yet.
  std::uint64_t consume() const { return word_.load(std::memory_order_acquire); }

 private:
  SharedWord<std::uint64_t> word_;
};

static_assert(sizeof(Published) == 8);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
