// Memory in which a transaction builds its records before it copies them into the log. Each thread
// keeps one for its next transaction, so that it is in the cache; it is touched no further than the
// largest record needed.
//   Threads:  of one thread.
//   Errors:   bytes() is null where there is no memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

#include "base/bytes.h"

namespace strata {

class RecordScratch {
 public:
  RecordScratch() = default;
  // Of at least `bytes`, a multiple of a cache line.
  static RecordScratch take(std::uint64_t bytes) {
    RecordScratch& spare = of_thread();
    RecordScratch taken = std::move(spare);
    if (taken.capacity_ < bytes) taken = RecordScratch(bytes);
    return taken;
  }
  void give_back() {
    if (memory_ != nullptr && capacity_ > of_thread().capacity_) of_thread() = std::move(*this);
  }
  RecordScratch(RecordScratch&& other) noexcept
      : memory_(std::move(other.memory_)), capacity_(std::exchange(other.capacity_, 0)) {}
  RecordScratch& operator=(RecordScratch&& other) noexcept {
    memory_ = std::move(other.memory_);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }

  std::byte* bytes() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  explicit RecordScratch(std::uint64_t bytes)
      : memory_(static_cast<std::byte*>(std::aligned_alloc(kCacheLineBytes, bytes))),
        capacity_(memory_ == nullptr ? 0 : bytes) {}
  static RecordScratch& of_thread() {
    static thread_local RecordScratch spare;
    return spare;
  }

  std::unique_ptr<std::byte, Free> memory_;
  std::uint64_t capacity_ = 0;
};

}  // namespace strata
