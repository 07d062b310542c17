// Memory in which a transaction builds its records before it copies them into the log. Each thread
// keeps one for its next transaction, so that it is in the cache; it is touched no further than the
// largest record needed.
//   Threads:  of one thread.
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
    thread_ = &of_thread();
    mine_ = std::exchange(thread_->spare, {});
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
  // Of two, which nested transactions on two logs have, the larger one is kept.
  void give_back() {
    if (mine_.start == nullptr) return;
    if (mine_.bytes > thread_->spare.bytes) std::swap(mine_, thread_->spare);
    std::free(mine_.start);
    mine_ = {};
  }

  Memory mine_;
  Thread* thread_ = nullptr;
};

}  // namespace strata::inline v0_1
