// A SeqLock lets readers copy something out without writing a byte: they look at a sequence
// number before and after, and try again if a writer was there meanwhile.
//   Threads:  any number of readers, also of a read-only mapping; writers exclude each other.
//   Lifetime: the segment must stay mapped; never copied or moved. Zeroed bytes will do.
//   Errors:   readers: timed_out where writers kept it busy; not_ready where a writer died in the
//             middle and nobody has written since. Writers: those of RobustMutex::lock.
//   Cost:     read: two loads besides the copy. Write: a RobustMutex and two stores. A poll that
//             fails (a deadline of now): tens of ns, as for RobustMutex.
//   Persists: no. A write that a generation left unfinished is owner_died in the next one too.
// After Acquired::owner_died the writer must write everything, not only what it came to change.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/sync/robust_mutex.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class alignas(8) SeqLock {
 public:
  SeqLock() = default;
  SeqLock(const SeqLock&) = delete;
  SeqLock& operator=(const SeqLock&) = delete;

  Result<Acquired> begin_write(const SyncContext& context, Deadline deadline);
  // All that the SeqLock guards is whole now.
  Result<void> end_write(const SyncContext& context);

  // The sequence number to give to is_unchanged after the copy. Waits while somebody writes.
  Result<std::uint64_t> begin_read(const SyncContext& context, Deadline deadline) const {
    const std::uint64_t sequence = sequence_.load(std::memory_order_acquire);
    if (sequence % 2 == 0) return sequence;
    return wait_for_writer(context, deadline);
  }
  bool is_unchanged(std::uint64_t sequence) const {
    return sequence_.load(std::memory_order_relaxed) == sequence;
  }

  Unexpected kept_busy() const;
  RobustMutex& writer() { return writer_; }
  Result<void> check() const { return writer_.check(); }

 private:
  Result<std::uint64_t> wait_for_writer(const SyncContext& context, Deadline deadline) const;
  Unexpected unreadable(std::uint32_t writer, bool is_dead) const;

  RobustMutex writer_;                          // 0
  SharedWord<std::uint64_t> sequence_;          // 64: odd while somebody writes
  std::array<std::uint64_t, 7> reserved_ = {};  // 72
};

static_assert(sizeof(SeqLock) == 128);

// A value under a SeqLock, copied word by word: a torn copy is seen and thrown away, and is no
// data race in the language's eyes either.
template <typename T>
class alignas(8) SeqCell {
  static_assert(std::is_trivially_copyable_v<T>);
  static constexpr std::size_t kWords = (sizeof(T) + 7) / 8;
  using Words = std::array<std::uint64_t, kWords>;

 public:
  // Whether a writer before us died in the middle does not matter: all is written anew.
  Result<void> write(const SyncContext& context, const T& value, Deadline deadline) {
    STRATA_TRY(lock_.begin_write(context, deadline));
    put(value);
    return lock_.end_write(context);
  }

  // `change(T&)` gets the present value, or T{} where a writer died and left a torn one.
  template <typename Change>
  Result<Acquired> update(const SyncContext& context, Change change, Deadline deadline) {
    STRATA_ASSIGN(const Acquired how, lock_.begin_write(context, deadline));
    T value{};
    if (how == Acquired::clean) value = get();
    change(value);
    put(value);
    STRATA_TRY(lock_.end_write(context));
    return how;
  }

  Result<T> read(const SyncContext& context, Deadline deadline) const {
    std::uint32_t tries = 0;
    for (;;) {
      STRATA_ASSIGN(const std::uint64_t sequence, lock_.begin_read(context, deadline));
      const T value = get();
      if (lock_.is_unchanged(sequence)) return value;
      // The clock is read seldom: a try costs less than it does.
      if (++tries % 64 == 0 && deadline.expired()) return lock_.kept_busy();
    }
  }

  SeqLock& lock() { return lock_; }

 private:
  // Acquire and release on each word keep them between the two looks at the sequence number; on
  // x86 they cost nothing, and unlike fences the thread sanitizer understands them.
  T get() const {
    Words words;
    for (std::size_t i = 0; i < kWords; ++i)
      words[i] = words_[i].load(std::memory_order_acquire);
    T value;
    std::memcpy(static_cast<void*>(&value), words.data(), sizeof(T));
    return value;
  }
  void put(const T& value) {
    Words words{};
    std::memcpy(words.data(), &value, sizeof(T));
    for (std::size_t i = 0; i < kWords; ++i)
      words_[i].store(words[i], std::memory_order_release);
  }

  SeqLock lock_;
  std::array<SharedWord<std::uint64_t>, kWords> words_;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
