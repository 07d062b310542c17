#include "gpu/stream_watch.h"

#include <chrono>
#include <utility>

#include "gpu/quiet_thread.h"

namespace strata::inline v0_1::cuda {
namespace {

constexpr std::chrono::milliseconds kPause(5);

// What is asked of the kernel once for all waits of one slot.
class GoneOwners {
 public:
  bool has(const StreamWait& wait) {
    const AwaitedSignal& awaited = wait.awaited;
    if (awaited.slot != slot_ || awaited.epoch != epoch_) {
      slot_ = awaited.slot;
      epoch_ = awaited.epoch;
      is_gone_ = is_owner_gone(awaited, wait.mapping->owner());
    }
    return is_gone_;
  }

 private:
  const TimelineSlot* slot_ = nullptr;
  std::uint32_t epoch_ = 0;
  bool is_gone_ = false;
};

bool has_been_written(const AwaitedSignal& awaited) {
  return has_passed(awaited.slot->value.load(std::memory_order_seq_cst), awaited.value());
}

// Sees to it that the stream comes past this wait, now or later.
void look_after(const StreamWait& wait, GoneOwners& gone) {
  if (has_been_written(wait.awaited)) return;  // the stream is still busy with what is before it
  if (look(wait.awaited) != Reading::pending) {
    // Poisoned, or claimed anew, and then an old owner's stream wrote over it.
    let_go(wait.awaited, SlotState::owner_died);
  } else if (gone.has(wait)) {
    let_go(wait.awaited, SlotState::owner_died);
  } else if (wait.deadline.expired()) {
    let_go(wait.awaited, SlotState::given_up);
  }
}

}  // namespace

StreamWait::Outcome StreamWait::look() {
  Reading settled = reading_.load(std::memory_order_acquire);
  if (settled == Reading::pending) {
    if (is_unmarked.load(std::memory_order_acquire) || !mapping->is_marked(mark))
      return Outcome::pending;
    // The device saw a value that is high enough. No poison stands there, so it was a signal, even
    // if an old owner's stream has written over it since.
    Reading now = cuda::look(awaited);
    if (now == Reading::pending) now = Reading::reached;
    if (reading_.compare_exchange_strong(settled, now, std::memory_order_acq_rel)) settled = now;
  }
  return settled == Reading::reached ? Outcome::reached : Outcome::failed;
}

Status StreamWait::failure() const {
  return status_of(reading_.load(std::memory_order_acquire), awaited);
}

StreamWatch& StreamWatch::of(Os& os) {
  // Never destroyed: its thread runs until the process has ended. No lock, which a fork could leave
  // locked for ever.
  static std::atomic<StreamWatch*> current{nullptr};
  const int pid = os.process_id();
  StreamWatch* seen = current.load(std::memory_order_acquire);
  if (seen && seen->pid_ == pid) return *seen;
  std::unique_ptr<StreamWatch> fresh(new StreamWatch(pid));
  if (current.compare_exchange_strong(seen, fresh.get(), std::memory_order_acq_rel))
    return *fresh.release();
  return *seen;
}

Result<void> StreamWatch::start() {
  if (is_started_) return {};
  STRATA_ASSIGN(std::thread watcher, start_quiet_thread([this] { run(); }));
  watcher.detach();  // it ends with the process
  is_started_ = true;
  return {};
}

void StreamWatch::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (waits_.empty() && claims_.empty() && orphans_.empty()) {
      changed_.wait(lock);
    } else {
      changed_.wait_for(lock, kPause);
    }
    look_locked();
    if (orphans_.empty()) continue;
    auto dropped = std::make_shared<std::vector<std::shared_ptr<void>>>(std::move(orphans_));
    orphans_.clear();
    // Where there is no thread for it, it is tried again.
    auto dropping = start_quiet_thread([dropped]() mutable { dropped.reset(); });
    if (dropping) {
      dropping->detach();
    } else {
      orphans_ = std::move(*dropped);
    }
  }
}

void StreamWatch::finish(std::shared_ptr<StreamWait> wait) {
  if (!wait->is_unmarked) wait->mapping->give_mark_back(wait->mark);
  auto& list = wait.use_count() == 1 ? orphans_ : finished_;
  list.push_back(std::move(wait));
}

void StreamWatch::look_locked() {
  GoneOwners gone;
  for (std::size_t i = 0; i < waits_.size();) {
    const bool is_over = waits_[i]->look() != StreamWait::Outcome::pending ||
                         (waits_[i]->is_unmarked && has_been_written(waits_[i]->awaited));
    if (!is_over) {
      look_after(*waits_[i], gone);
      ++i;
      continue;
    }
    std::swap(waits_[i], waits_.back());
    std::shared_ptr<StreamWait> over = std::move(waits_.back());
    waits_.pop_back();
    finish(std::move(over));
  }
  std::erase_if(claims_, [&](LingeringClaim& claim) {
    const Owner& owner = claim.mapping->owner();
    const bool is_mine = check_claim(*claim.last.slot, owner, claim.last.epoch).has_value();
    if (is_mine && cuda::look(claim.last) == Reading::pending) return false;
    end_claim(*claim.last.slot, owner, claim.last.epoch);
    orphans_.push_back(std::move(claim.mapping));
    return true;
  });
}

Result<void> StreamWatch::add(std::shared_ptr<StreamWait> wait) {
  drop_finished();
  const std::lock_guard lock(mutex_);
  STRATA_TRY(start());
  waits_.push_back(std::move(wait));
  changed_.notify_one();
  return {};
}

void StreamWatch::forget(const StreamWait& wait) {
  const std::lock_guard lock(mutex_);
  for (auto& other : waits_) {
    if (other.get() != &wait) continue;
    std::swap(other, waits_.back());
    finish(std::move(waits_.back()));
    waits_.pop_back();
    return;
  }
}

void StreamWatch::linger(LingeringClaim claim) {
  const std::lock_guard lock(mutex_);
  (void)start();
  claims_.push_back(std::move(claim));
  changed_.notify_one();
}

void StreamWatch::look() {
  const std::lock_guard lock(mutex_);
  look_locked();
}

void StreamWatch::drop_finished() {
  std::vector<std::shared_ptr<void>> finished;
  {
    const std::lock_guard lock(mutex_);
    finished.swap(finished_);
  }
}

}  // namespace strata::inline v0_1::cuda
