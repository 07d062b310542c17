// One robust mutex as the threads of this process see it.
//   Threads:  with the GIL.
//   Errors:   StateError for a release by who does not hold it, with who does.
// RobustMutex knows processes. That two threads of one exclude each other follows from its word;
// which of them holds it is known here alone.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "python/core/process_wide.h"
#include "python/core/shared_object.h"
#include "python/core/wait.h"
#include "strata/base/bytes.h"
#include "strata/sync/robust_mutex.h"

namespace strata::python {

// Which mutex of a segment: the one of a Lock, a shard of a ShardedLock, or the segment's own, in
// its header.
inline constexpr std::int64_t kLocksOwn = 0;
inline constexpr std::int64_t kSegmentsOwn = -1;
inline constexpr std::int64_t place_of_shard(std::uint64_t index) {
  return static_cast<std::int64_t>(index) + 1;
}
inline constexpr std::string_view kShardedLockType = "strata.ShardedLock";

class MutexState {
 public:
  MutexState(std::shared_ptr<SharedObject> object, RobustMutex& mutex, std::int64_t place)
      : object_(std::move(object)), mutex_(mutex), place_(place) {}

  SharedObject& object() { return *object_; }
  RobustMutex& mutex() { return mutex_; }
  std::int64_t place() const { return place_; }
  const SyncContext& context() { return object_->context(); }

  // Not recursive: also for the thread that holds it, it is held.
  bool acquire(Timeout timeout) {
    if (mutex_.try_lock(context())) [[likely]] {
      holder_.store(PyThread_get_thread_ident(), std::memory_order_relaxed);
      return true;
    }
    return acquire_slowly(timeout);
  }
  bool acquire_again(Timeout timeout) {
    if (is_held_by_this_thread()) {
      ++depth_;
      return true;
    }
    if (!acquire(timeout)) return false;
    depth_ = 1;
    return true;
  }

  void release() {
    check_held("release");
    holder_.store(0, std::memory_order_relaxed);
    if (Result<void> unlocked = mutex_.unlock(context()); !unlocked) [[unlikely]]
      raise(unlocked.error().in(uri()));
  }
  void release_once() {
    // A child that was forked by the holder has its thread and its depth, and does not hold it.
    if (!is_held_by_this_thread()) [[unlikely]]
      not_held("release");
    if (--depth_ == 0) release();
  }

  bool is_held_by_this_thread() {
    return holder_.load(std::memory_order_relaxed) == PyThread_get_thread_ident() &&
           mutex_.is_held_by(context());
  }
  void check_held(const char* verb) {
    if (holder_.load(std::memory_order_relaxed) != PyThread_get_thread_ident()) [[unlikely]]
      not_held(verb);
  }

  // For a condition: lets go of it, however often it was taken, and takes it as often again.
  // Requires that this thread holds it.
  std::uint32_t suspend() {
    const std::uint32_t depth = depth_;
    release();
    return depth;
  }
  // Not ended by signals: whoever waited for the condition is about to release it.
  void resume(std::uint32_t depth);
  void set_depth(std::uint32_t depth) { depth_ = depth; }

  [[noreturn]] void not_held(const char* verb);

  bool is_locked() { return mutex_.look(context()).token != 0; }
  bool is_recovered() { return mutex_.look(context()).is_unrepaired; }
  void mark_repaired();
  // (pid, text), or None.
  nb::object holder();

  std::string uri() const { return object_->uri(); }
  std::string describe() const;

 private:
  bool acquire_slowly(Timeout timeout);

  std::shared_ptr<SharedObject> object_;
  RobustMutex& mutex_;
  std::int64_t place_;
  std::atomic<unsigned long> holder_ = 0;  // a thread of this process, 0 for none
  std::uint32_t depth_ = 0;                // changed by the holder alone
};

// The mutexes of a row in a payload, each with a cache line of its own.
struct alignas(kCacheLineBytes) MutexSlot {
  RobustMutex mutex;
};
static_assert(sizeof(MutexSlot) == kCacheLineBytes);

// `where` is what people write: None for one of its own without a name, a URI, a Segment.
// Errors: TypeError, and as SharedObject::make().
std::shared_ptr<MutexState> open_mutex(std::string_view type, nb::handle where,
                                       nb::handle permissions);
// The one that a handle of another process leads to.
std::shared_ptr<MutexState> mutex_of_handle(std::string_view type, const nb::bytes& handle,
                                            std::int64_t place);
// That of an object that is open already.
std::shared_ptr<MutexState> mutex_in(const std::shared_ptr<SharedObject>& object,
                                     std::int64_t place);

}  // namespace strata::python
