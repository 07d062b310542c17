// Memory in which a transaction builds its records before it copies them into the log. Each thread
// keeps one for its next transaction, so that it is in the cache; it is touched no further than the
// largest record needed.
//   Threads:  one at a time.
//   Errors:   bytes() is null where there is no memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "strata/base/bytes.h"

namespace strata::inline v0_1 {

class RecordScratch {
 public:
  RecordScratch() = default;
  ~RecordScratch() { give_back(); }
  RecordScratch(const RecordScratch&) = delete;
  RecordScratch& operator=(const RecordScratch&) = delete;

  // At least `bytes`, a multiple of a cache line.
  void take(std::uint64_t bytes) {
    give_back();
    mine_ = std::exchange(of_thread().spare, {});
    if (mine_.bytes >= bytes) return;
    std::free(mine_.start);
    mine_.start = static_cast<std::byte*>(std::aligned_alloc(kCacheLineBytes, bytes));
    mine_.bytes = mine_.start == nullptr ? 0 : bytes;
  }
  std::byte* bytes() const { return mine_.start; }

 private:
  struct Memory {
    std::byte* start = nullptr;
    std::uint64_t bytes = 0;
  };
  struct Thread {
    Memory spare;
    ~Thread() { std::free(spare.start); }
  };
  static Thread& of_thread() {
    static thread_local Thread thread;
    return thread;
  }
  // Of two, which nested transactions on two logs have, the larger one is kept; by the thread that
  // ends the transaction, which need not be the one that began it.
  void give_back() {
    if (mine_.start == nullptr) return;
    Memory& spare = of_thread().spare;
    if (mine_.bytes > spare.bytes) std::swap(mine_, spare);
    std::free(mine_.start);
    mine_ = {};
  }

  Memory mine_;
};

}  // namespace strata::inline v0_1
