#include "strata/gpu/timeline.h"

#include <fmt/format.h>

#include <utility>

#include "gpu/poll.h"
#include "gpu/stream_watch.h"
#include "gpu/timeline_mapping.h"
#include "gpu/timeline_page.h"
#include "gpu/timeline_slot.h"

namespace strata::inline v0_1::cuda {
namespace {

Result<void> check_number(std::uint64_t number) {
  if (number >= 1 && number <= kMaxSignal) return {};
  return fail(Code::invalid_argument,
              fmt::format("signal {}: they count from 1 to {}", number, kMaxSignal));
}

Result<void> check_slot(unsigned slot) {
  if (slot < kTimelineSlots) return {};
  return fail(Code::invalid_argument,
              fmt::format("timeline slot {}: there are {}, from 0 on", slot, kTimelineSlots));
}

Unexpected in_wait(const Status& status, const TimelineMapping& mapping, unsigned slot,
                   std::uint64_t number) {
  return unexpected(status.in(fmt::format("{}: wait for {}", mapping.describe(slot), number)));
}

}  // namespace

// --- the owner ---

Signaller::~Signaller() {
  if (!mapping_ || mapping_->owner().token() == 0) return;
  TimelineSlot& slot = mapping_->slot(slot_);
  const AwaitedSignal last{&slot, epoch_, last_};
  if (last_ == 0 || look(last) != Reading::pending) {
    end_claim(slot, mapping_->owner(), epoch_);
    return;
  }
  Os& os = mapping_->os();
  StreamWatch::of(os).linger({std::move(mapping_), last});
}

Result<void> Signaller::check(std::uint64_t number) const {
  STRATA_TRY(check_number(number));
  if (number <= last_) {
    return fail(Code::invalid_argument,
                fmt::format("signal {}: it has signalled {} already", number, last_));
  }
  return check_claim(mapping_->slot(slot_), mapping_->owner(), epoch_);
}

Result<void> Signaller::signal(CuStream stream, std::uint64_t number) {
  const auto signalled = [&]() -> Result<void> {
    STRATA_TRY(check(number));
    STRATA_TRY(mapping_->queue_write(stream, slot_, first_value(epoch_) + number));
    last_ = number;
    return {};
  }();
  if (signalled) return {};
  return unexpected(signalled.error().in(mapping_->describe(slot_)));
}

Result<void> Signaller::signal(std::uint64_t number) {
  if (auto may = check(number); !may) {
    return unexpected(may.error().in(mapping_->describe(slot_)));
  }
  mapping_->slot(slot_).value.store(first_value(epoch_) + number, std::memory_order_seq_cst);
  last_ = number;
  return {};
}

// --- followers ---

PendingWait::PendingWait(std::shared_ptr<StreamWait> wait)
    : wait_(std::move(wait)), pid_(wait_->mapping->os().process_id()) {}

PendingWait::~PendingWait() {
  if (!wait_) return;
  const std::shared_ptr<TimelineMapping> mapping = wait_->mapping;
  wait_.reset();
  StreamWatch::of(mapping->os()).drop_finished();
}

Result<bool> PendingWait::is_reached() const {
  if (!wait_) return true;
  const AwaitedSignal& awaited = wait_->awaited;
  if (wait_->mapping->os().process_id() != pid_) {
    return fail(Code::failed_precondition,
                "the wait is one of the process that this one was "
                "forked from");
  }
  switch (wait_->look()) {
    case StreamWait::Outcome::pending: return false;
    case StreamWait::Outcome::reached: return true;
    case StreamWait::Outcome::failed: break;
  }
  return in_wait(wait_->failure(), *wait_->mapping, wait_->slot, awaited.number);
}

Result<void> PendingWait::result(Deadline deadline) const {
  if (!wait_) return {};
  Poll poll(wait_->mapping->os(), deadline);
  while (true) {
    const bool is_last = poll.expired();
    STRATA_ASSIGN(const bool is_reached, this->is_reached());
    if (is_reached) return {};
    if (is_last) {
      return in_wait(Status(Code::not_ready, "the stream has not come past it yet"),
                     *wait_->mapping, wait_->slot, wait_->awaited.number);
    }
    poll.pause();
  }
}

Result<AwaitedSignal> Follower::awaited(std::uint64_t number) const {
  STRATA_TRY(check_number(number));
  return AwaitedSignal{&mapping_->slot(slot_), epoch_, number};
}

Result<bool> Follower::is_reached(std::uint64_t number) const {
  STRATA_ASSIGN(const AwaitedSignal awaited, this->awaited(number));
  const Reading reading = look(awaited);
  if (reading == Reading::pending) return false;
  if (reading == Reading::reached) return true;
  return in_wait(status_of(reading, awaited), *mapping_, slot_, number);
}

Result<void> Follower::wait(std::uint64_t number, Deadline deadline) const {
  STRATA_ASSIGN(const AwaitedSignal awaited, this->awaited(number));
  const auto waited = wait_on_host(mapping_->os(), awaited, mapping_->owner(), deadline);
  if (waited) return {};
  return in_wait(waited.error(), *mapping_, slot_, number);
}

Result<PendingWait> Follower::wait(CuStream stream, std::uint64_t number, Deadline deadline) const {
  if (auto can = mapping_->check_streams(); !can)
    return in_wait(can.error(), *mapping_, slot_, number);
  STRATA_ASSIGN(const bool is_there, is_reached(number));
  if (is_there) return PendingWait();
  STRATA_ASSIGN(const AwaitedSignal awaited, this->awaited(number));
  StreamWatch& watch = StreamWatch::of(mapping_->os());
  const auto wait = std::make_shared<StreamWait>(mapping_, slot_, awaited, deadline);
  const auto queued = [&]() -> Result<void> {
    auto mark = mapping_->take_mark();
    if (!mark && mark.error().code() == Code::exhausted) {
      watch.look();  // some may have ended since the last look
      mark = mapping_->take_mark();
    }
    STRATA_ASSIGN(wait->mark, std::move(mark));
    // Before the stream can wait: from then on somebody has to see to it.
    if (auto added = watch.add(wait); !added) {
      mapping_->give_mark_back(wait->mark);
      return added;
    }
    if (auto begun = mapping_->queue_wait(stream, slot_, awaited.value()); !begun) {
      watch.forget(*wait);
      return begun;
    }
    auto marked = mapping_->queue_mark(stream, wait->mark);
    // The mark stays taken: whether the driver will write it nobody knows.
    if (!marked) wait->is_unmarked = true;
    return marked;
  }();
  if (!queued) return in_wait(queued.error(), *mapping_, slot_, number);
  return PendingWait(wait);
}

// --- the page ---

Result<Timeline> Timeline::open(TimelineParts parts) {
  STRATA_ASSIGN(auto mapping, TimelineMapping::open(std::move(parts)));
  return Timeline(std::move(mapping));
}

Result<Signaller> Timeline::claim(unsigned slot) {
  STRATA_TRY(check_slot(slot));
  const auto epoch = claim_slot(mapping_->slot(slot), mapping_->owner());
  if (epoch) return Signaller(mapping_, slot, *epoch);
  return unexpected(epoch.error().in(fmt::format("claim {}", mapping_->describe(slot))));
}

Result<Follower> Timeline::follow(unsigned slot, Deadline deadline) {
  STRATA_TRY(check_slot(slot));
  Poll poll(mapping_->os(), deadline);
  while (true) {
    const bool is_last = poll.expired();
    const std::uint64_t word = mapping_->slot(slot).claim.load(std::memory_order_acquire);
    const SlotClaim now = SlotClaim::of(word);
    if (word != 0 && now.state != SlotState::starting) return Follower(mapping_, slot, now.epoch);
    if (is_last) {
      return fail(Code::not_ready,
                  fmt::format("follow {}: nobody has claimed it", mapping_->describe(slot)));
    }
    poll.pause();
  }
}

}  // namespace strata::inline v0_1::cuda
