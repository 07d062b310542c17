#include "strata/sync/seq_lock.h"

#include "strata/sync/wait.h"

namespace strata::inline v0_1 {

Result<Acquired> SeqLock::begin_write(const SyncContext& context, Deadline deadline) {
  STRATA_ASSIGN(Acquired how, writer_.lock(context, deadline));
  const std::uint64_t sequence = sequence_.load(std::memory_order_relaxed);
  // Odd already: the last writer never came to its end, in whatever generation that was.
  if (sequence % 2 != 0) return Acquired::owner_died;
  sequence_.store(sequence + 1, std::memory_order_relaxed);
  return how;
}

Result<void> SeqLock::end_write(const SyncContext& context) {
  if (!writer_.is_held_by(context)) return writer_.unlock(context);  // says who holds it
  const std::uint64_t sequence = sequence_.load(std::memory_order_relaxed);
  if (sequence % 2 != 0) sequence_.store(sequence + 1, std::memory_order_release);
  STRATA_TRY(writer_.mark_repaired(context));
  return writer_.unlock(context);
}

Result<std::uint64_t> SeqLock::wait_for_writer(const SyncContext& context,
                                               Deadline deadline) const {
  if (deadline.is_now()) {
    const std::uint32_t writer = writer_.look(context).token;
    return unreadable(writer, writer != 0 && context.seems_dead(writer, coarse_monotonic_ns()));
  }
  SlicedWait slices(deadline);
  for (std::uint32_t spin = 0;; ++spin) {
    const std::uint64_t sequence = sequence_.load(std::memory_order_acquire);
    if (sequence % 2 == 0) return sequence;
    if (spin < context.spins()) {
      relax_cpu();
      continue;
    }
    if (slices.expired()) break;
    // A reader leaves no mark, so nobody wakes it: it looks again after the slice.
    slices.sleep(sequence_.futex(), static_cast<std::uint32_t>(sequence));
  }
  const std::uint32_t writer = writer_.look(context).token;
  const bool is_dead = writer != 0 && context.is_dead(writer);
  if (writer == 0 || is_dead || !slices.is_long()) return unreadable(writer, is_dead);
  return fail(Code::timed_out, "seqlock: being written by " + context.describe(writer));
}

// `writer` is 0 where nobody writes any more.
Unexpected SeqLock::unreadable(std::uint32_t writer, bool is_dead) const {
  if (writer == 0)
    return fail(Code::not_ready, LateMessage{"seqlock: a write was left unfinished"});
  if (is_dead) {
    return fail(
        Code::not_ready,
        LateMessage{"seqlock: the process of token {} died in the middle of a write", {writer}});
  }
  return fail(Code::timed_out, LateMessage{"seqlock: being written by token {}", {writer}});
}

Unexpected SeqLock::kept_busy() const {
  return fail(Code::timed_out,
              LateMessage{"seqlock: writers came too often to read a whole value"});
}

}  // namespace strata::inline v0_1
