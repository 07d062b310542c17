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
  if (writer != 0 && !context.is_dead(writer)) {
    return fail(Code::timed_out, "seqlock: being written by " + context.describe(writer));
  }
  return fail(Code::not_ready,
              writer == 0 ? "seqlock: a write was left unfinished"
                          : "seqlock: in the middle of a write died " + context.describe(writer));
}

Unexpected SeqLock::kept_busy() const {
  return fail(Code::timed_out, "seqlock: writers came too often to read a whole value");
}

}  // namespace strata::inline v0_1
