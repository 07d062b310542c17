#include "transaction/running_transaction.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "strata/base/step.h"

namespace strata::inline v0_1 {
namespace {

// New blocks that together are no larger go into the record: that is cheaper than a drain.
constexpr std::uint64_t kMaxInlineFreshBytes = 1024;

RunningTransaction*& innermost() {
  static thread_local RunningTransaction* transaction = nullptr;
  return transaction;
}

}  // namespace

RunningTransaction* RunningTransaction::current(const TransactionLog& log) {
  for (RunningTransaction* tx = innermost(); tx != nullptr; tx = tx->outer_)
    if (&tx->log_ == &log) return tx;
  return nullptr;
}

RunningTransaction::RunningTransaction(TransactionLog& log, Nesting nesting)
    : log_(log), nesting_(nesting) {
  if (nesting_ == Nesting::alone) return;
  outer_ = innermost();
  innermost() = this;
}

RunningTransaction::~RunningTransaction() {
  if (has_slot_ && is_of_this_process()) abort();
  unlock_all();
  if (nesting_ == Nesting::joined) innermost() = outer_;
}

bool RunningTransaction::is_of_this_process() const { return log_.context_.token() == token_; }

void RunningTransaction::set_state(SlotState state) {
  slot_.head->state.store(static_cast<std::uint32_t>(state), std::memory_order_release);
}

Result<void> RunningTransaction::begin(std::span<RobustMutex* const> locks,
                                       const TransactOptions& options) {
  boost::container::small_vector<RobustMutex*, 4> sorted(locks.begin(), locks.end());
  if (sorted.size() > 1) {
    std::sort(sorted.begin(), sorted.end());
    sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  }
  base_ = log_.base_;
  bounds_ = log_.bounds();
  token_ = log_.context_.token();
  if (sorted.size() <= 1) {
    for (RobustMutex* lock : sorted)
      STRATA_TRY(take(*lock, options.timeout_ms));
  } else {
    const Deadline deadline = Deadline::after_ms(options.timeout_ms);
    for (RobustMutex* lock : sorted)
      STRATA_TRY(take(*lock, deadline.remaining_ns() / 1'000'000));
  }
  return open_slot(options);
}

Result<void> RunningTransaction::take(RobustMutex& lock, std::uint64_t timeout_ms) {
  const auto offset = static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&lock) - base_);
  STRATA_TRY(check_range(offset, sizeof(lock)));
  if (locks_.size() == kMaxTransactionLocks) {
    return fail(Code::exhausted,
                fmt::format("a transaction holds at most {} locks", kMaxTransactionLocks));
  }
  const auto acquired = lock.lock_for_ms(log_.context_, timeout_ms);
  if (!acquired) return unexpected(acquired.error().in("lock for a transaction"));
  locks_.push_back(&lock);
  if (*acquired == Acquired::clean) return {};
  STRATA_TRY(log_.recover_lock(offset));
  return lock.mark_repaired(log_.context_);
}

Result<void> RunningTransaction::open_slot(const TransactOptions& options) {
  // On volatile memory records are built where they stay. On durable memory they are built apart,
  // and copied at once when they are whole: past the caches that is faster than to build them in
  // the log and to flush it, and they can be applied from a place that is near.
  if (!log_.is_volatile_) {
    scratch_.take(log_.identity_.slot_bytes);
    if (scratch_.bytes() == nullptr) {
      return fail(Code::exhausted,
                  fmt::format("no memory for the records of a transaction: {} bytes",
                              log_.identity_.slot_bytes));
    }
  }
  STRATA_ASSIGN(const std::uint32_t index, log_.claim(options.timeout_ms));
  slot_ = log_.slot(index);
  log_.make_room(slot_);
  SlotHead& head = *slot_.head;
  const auto extent = log_.extent_of(slot_);
  if (!extent) {
    head.owner.store(0, std::memory_order_release);
    return unexpected(extent.error());
  }
  used_bytes_ = extent->used_bytes;
  records_ = log_.is_volatile_ ? slot_.buffer.data() + used_bytes_ : scratch_.bytes();
  records_at_bytes_ = used_bytes_;
  open_record();
  show_to_heirs();
  head.first_bytes.store(used_bytes_, std::memory_order_relaxed);
  head.low_sequence.store(0, std::memory_order_relaxed);
  for (std::size_t i = 0; i < locks_.size(); ++i) {
    const auto offset = reinterpret_cast<const std::byte*>(locks_[i]) - base_;
    head.locks[i].store(static_cast<std::uint64_t>(offset), std::memory_order_relaxed);
  }
  head.lock_count.store(static_cast<std::uint32_t>(locks_.size()), std::memory_order_relaxed);
  // From here on whoever gets the lock after our death finds out by this slot.
  set_state(SlotState::active);
  has_slot_ = true;
  return {};
}

void RunningTransaction::open_record() { open_bytes_ = shown_bytes_ = sizeof(RecordHead); }

Result<void> RunningTransaction::join(std::span<RobustMutex* const> locks,
                                      const TransactOptions& options) {
  boost::container::small_vector<RobustMutex*, 4> sorted(locks.begin(), locks.end());
  std::sort(sorted.begin(), sorted.end());
  for (RobustMutex* lock : sorted) {
    if (std::find(locks_.begin(), locks_.end(), lock) != locks_.end()) continue;
    // Against the order of addresses two transactions could wait for each other: do not wait.
    const bool in_order = locks_.empty() || lock > *std::max_element(locks_.begin(), locks_.end());
    STRATA_TRY(take(*lock, in_order ? options.timeout_ms : 0));
    SlotHead& head = *slot_.head;
    const auto offset = reinterpret_cast<const std::byte*>(lock) - base_;
    head.locks[locks_.size() - 1].store(static_cast<std::uint64_t>(offset),
                                        std::memory_order_relaxed);
    head.lock_count.store(static_cast<std::uint32_t>(locks_.size()), std::memory_order_release);
  }
  return {};
}

void RunningTransaction::unlock_all() {
  while (!locks_.empty()) {
    (void)locks_.back()->unlock(log_.context_);
    locks_.pop_back();
  }
}

void RunningTransaction::close_slot() {
  has_slot_ = false;
  unlock_all();
  slot_.head->owner.store(0, std::memory_order_release);
}

Result<void> RunningTransaction::check_range(std::uint64_t offset, std::uint64_t bytes) {
  if (bounds_.contains(offset, bytes)) return {};
  log_.refresh_payload();  // the segment may have grown
  bounds_ = log_.bounds();
  if (bounds_.contains(offset, bytes)) return {};
  return fail(Code::invalid_argument,
              fmt::format("transaction: {} bytes at offset {} are not in the payload of {} bytes, "
                          "or are of the log itself",
                          bytes, offset, bounds_.payload_bytes));
}

Result<void> RunningTransaction::check_address(const void* address, std::uint64_t bytes) {
  return check_range(static_cast<std::uint64_t>(static_cast<const std::byte*>(address) - base_),
                     bytes);
}

void RunningTransaction::fail_with(const Status& status) {
  if (!failed_) failed_ = status;
}

Result<void> RunningTransaction::refuse(Status status) {
  fail_with(status);
  return unexpected(std::move(status));
}

Unexpected RunningTransaction::no_room(std::uint64_t bytes) {
  Status status(Code::exhausted,
                fmt::format("transaction: {} bytes more do not fit: {} of the {} bytes of its log "
                            "are used; make the log larger, or the transaction smaller",
                            bytes, used_bytes_ + open_bytes_, log_.identity_.slot_bytes));
  fail_with(status);
  return unexpected(std::move(status));
}

bool RunningTransaction::has_room(std::uint64_t data_bytes) const {
  const std::uint64_t left = log_.identity_.slot_bytes - used_bytes_;
  return data_bytes < GiB(1) && open_bytes_ <= left &&
         entry_bytes(data_bytes) + kept_bytes_ <= left - open_bytes_;
}

void RunningTransaction::put(EntryKind kind, std::uint64_t offset, const void* data,
                             std::uint64_t bytes) {
  STRATA_STEP("log an entry");
  put_entry(record() + open_bytes_, kind, offset, data, bytes);
  open_bytes_ += entry_bytes(bytes);
}

// Lets an heir see the entries so far: before anything is changed that they undo.
void RunningTransaction::show_to_heirs() {
  // A buffer that is full to its end has no open record.
  const std::uint64_t open = std::min(open_bytes_, log_.identity_.slot_bytes - used_bytes_);
  if (!log_.is_volatile_ && open > shown_bytes_) {
    std::memcpy(slot_.buffer.data() + used_bytes_ + shown_bytes_, record() + shown_bytes_,
                open - shown_bytes_);
    shown_bytes_ = open;
  }
  slot_.head->extent.store(
      Extent{static_cast<std::uint32_t>(used_bytes_), static_cast<std::uint32_t>(open)}.word(),
      std::memory_order_release);
}

RunningTransaction::InPlace RunningTransaction::in_place(std::uint64_t offset,
                                                         std::uint64_t bytes) const {
  bool partly = false;
  if (!fresh_.empty()) {
    auto after =
        std::upper_bound(fresh_.begin(), fresh_.end(), offset,
                         [](std::uint64_t at, const Range& range) { return at < range.offset; });
    if (after != fresh_.begin()) {
      const Range& range = *std::prev(after);
      if (range.contains(offset, bytes)) return InPlace::yes;
      partly = range.overlaps(offset, bytes);
    }
    if (after != fresh_.end()) partly = partly || after->overlaps(offset, bytes);
  }
  for (const Range& range : snapshots_) {
    if (range.contains(offset, bytes)) return InPlace::yes;
    partly = partly || range.overlaps(offset, bytes);
  }
  return partly ? InPlace::partly : InPlace::no;
}

Result<void> RunningTransaction::write_bytes(void* target, const void* value, std::uint64_t bytes) {
  const auto offset = static_cast<std::uint64_t>(static_cast<const std::byte*>(target) - base_);
  if (!bounds_.contains(offset, bytes)) {
    if (auto checked = check_range(offset, bytes); !checked) return refuse(checked.error());
  }
  if (!fresh_.empty() || !snapshots_.empty()) {
    switch (in_place(offset, bytes)) {
      case InPlace::no: break;
      case InPlace::yes:
        STRATA_STEP("write in place");
        std::memcpy(target, value, bytes);
        return {};
      case InPlace::partly:
        return refuse(Status(Code::invalid_argument,
                             fmt::format("transaction: write of {} bytes at offset {} reaches "
                                         "beyond a new block or a snapshot",
                                         bytes, offset)));
    }
  }
  // Again to the same place: in the record that is open, the later value is all that counts.
  std::byte* const earlier = writes_.find(offset, bytes);
  if (earlier != nullptr && earlier >= record()) {
    std::memcpy(earlier, value, bytes);
    return {};
  }
  if (!has_room(bytes)) return no_room(bytes);
  // The line is wanted at commit; until then it can arrive.
  if (!log_.is_applied_durably(bytes)) __builtin_prefetch(target, 1);
  std::byte* const data = record() + open_bytes_ + sizeof(EntryHead);
  put(EntryKind::write, offset, value, bytes);
  writes_.add(offset, bytes, data);
  return {};
}

void RunningTransaction::read_bytes(void* to, const void* source, std::uint64_t bytes) const {
  const auto offset = static_cast<std::uint64_t>(static_cast<const std::byte*>(source) - base_);
  std::memcpy(to, source, bytes);
  writes_.overlay(static_cast<std::byte*>(to), offset, bytes);
}

// Both values are entries as any other, but stand apart from what was written: they are applied in
// their order, and a later write to the word would otherwise change the earlier one.
Result<void> RunningTransaction::announce(SharedWord<std::uint64_t>& sequence) {
  const auto offset =
      static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&sequence) - base_);
  for (const Announced& known : announced_)
    if (known.offset == offset) return {};
  if (auto checked = check_range(offset, sizeof(sequence)); !checked) {
    return refuse(checked.error());
  }
  // In a new block nobody sees it yet; under a snapshot all is changed at once.
  if (in_place(offset, sizeof(sequence)) != InPlace::no) return {};
  const std::uint64_t odd = sequence.load(std::memory_order_relaxed) | 1;
  kept_bytes_ += entry_bytes(sizeof(odd));
  if (!has_room(sizeof(odd))) return no_room(2 * sizeof(odd));
  put(EntryKind::write, offset, &odd, sizeof(odd));
  announced_.push_back({offset, odd + 1});
  return {};
}

// Last of all.
void RunningTransaction::end_announced() {
  for (const Announced& sequence : announced_)
    put(EntryKind::write, sequence.offset, &sequence.even, sizeof(sequence.even));
}

Result<void> RunningTransaction::log_old_bytes(std::uint64_t offset, std::uint64_t bytes) {
  if (!has_room(bytes)) return no_room(bytes);
  put(EntryKind::undo, offset, base_ + offset, bytes);
  snapshots_.push_back({offset, bytes});
  return {};
}

Result<void> RunningTransaction::snapshot_bytes(std::span<const std::span<std::byte>> ranges) {
  const std::size_t known = snapshots_.size();
  for (const std::span<std::byte> range : ranges) {
    const auto offset = static_cast<std::uint64_t>(range.data() - base_);
    if (auto checked = check_range(offset, range.size()); !checked) return refuse(checked.error());
    if (in_place(offset, range.size()) == InPlace::yes || range.empty()) continue;
    if (writes_.overlaps(offset, range.size())) {
      return refuse(Status(Code::failed_precondition,
                           fmt::format("transaction: the {} bytes at offset {} were written to "
                                       "before: take the snapshot first",
                                       range.size(), offset)));
    }
    STRATA_TRY(log_old_bytes(offset, range.size()));
  }
  if (snapshots_.size() == known) return {};
  if (log_.is_volatile_) {
    show_to_heirs();
    return {};
  }
  // The old bytes must be durable before the new ones can reach the medium.
  has_parts_ = true;
  if (auto durable = close_record(RecordKind::part); !durable) {
    return refuse(durable.error().in("snapshot of a transaction"));
  }
  if (used_bytes_ + open_bytes_ > log_.identity_.slot_bytes) return no_room(sizeof(RecordHead));
  return {};
}

// Seals the open record, durably, and opens the next.
Result<void> RunningTransaction::close_record(RecordKind kind) {
  const std::uint64_t sealed = align_up(open_bytes_, kCacheLineBytes);
  std::memset(record() + open_bytes_, 0, sealed - open_bytes_);
  STRATA_TRY(log_.close_record(slot_, used_bytes_, kind, {record(), open_bytes_}));
  if (kind == RecordKind::commit) set_state(SlotState::committed);
  used_bytes_ += sealed;
  open_record();
  return log_.is_by_pages() ? log_.make_durable(slot_) : Result<void>();
}

Result<std::uint64_t> RunningTransaction::reserve(std::uint64_t bytes, std::uint64_t align) {
  Result<std::uint64_t> block = log_.blocks_.reserve(bytes, align);
  if (block || block.error().code() != Code::exhausted || log_.is_volatile_) return block;
  // What committed transactions have freed is handed out again after a checkpoint.
  STRATA_TRY(log_.checkpoint());
  return log_.blocks_.reserve(bytes, align);
}

Result<Offset<std::byte>> RunningTransaction::allocate(std::uint64_t bytes, std::uint64_t align) {
  if (!has_room(0)) return no_room(0);
  const Result<std::uint64_t> block = reserve(bytes, align);
  if (!block) {
    fail_with(block.error());
    return unexpected(block.error());
  }
  put(EntryKind::allocate, *block, nullptr, 0);
  show_to_heirs();
  const Result<bool> taken = log_.blocks_.change(*block, BlockState::free, BlockState::tentative);
  if (!taken || !*taken) {
    Status status = taken ? Status(Code::corrupt, fmt::format("block at offset {} was reserved "
                                                              "and is not free",
                                                              *block))
                          : taken.error();
    fail_with(status);
    return unexpected(std::move(status));
  }
  if (auto checked = check_range(*block, bytes); !checked) return unexpected(checked.error());
  const Range range = {*block, bytes};
  fresh_.insert(
      std::upper_bound(fresh_.begin(), fresh_.end(), range,
                       [](const Range& a, const Range& b) { return a.offset < b.offset; }),
      range);
  return Offset<std::byte>{*block};
}

Result<void> RunningTransaction::free(Offset<std::byte> block) {
  if (auto checked = check_range(block.bytes, 1); !checked) return refuse(checked.error());
  const Result<BlockState> state = log_.blocks_.state(block.bytes);
  if (!state) return refuse(state.error());
  const auto place = std::lower_bound(freed_.begin(), freed_.end(), block.bytes);
  const bool twice = place != freed_.end() && *place == block.bytes;
  const bool is_ours = *state == BlockState::tentative &&
                       std::any_of(fresh_.begin(), fresh_.end(),
                                   [&](const Range& range) { return range.offset == block.bytes; });
  if (twice || (*state != BlockState::allocated && !is_ours)) {
    return refuse(Status(
        Code::failed_precondition,
        fmt::format("free of the block at offset {}: {}", block.bytes,
                    twice ? "it was freed in this transaction before" : "it is not allocated")));
  }
  if (!has_room(0)) return no_room(0);
  put(EntryKind::free, block.bytes, nullptr, 0);
  freed_.insert(place, block.bytes);
  return {};
}

Result<void> RunningTransaction::finish(Result<void> result) {
  if (result && failed_) result = unexpected(*failed_);
  if (!result) {
    abort();
    return result;
  }
  return commit();
}

void RunningTransaction::abort() {
  show_to_heirs();
  // Where this fails, the log is damaged or the medium refuses: the slot stays as it is, and
  // whoever opens the segment next is told.
  if (log_.roll_back(slot_)) {
    close_slot();
  } else {
    has_slot_ = false;
    unlock_all();
  }
}

// What else the record needs on durable memory, which keeps nothing but records.
Result<void> RunningTransaction::prepare_record() {
  std::uint64_t fresh_bytes = 0;
  for (const Range& range : fresh_)
    fresh_bytes += entry_bytes(range.bytes);
  if (fresh_bytes <= kMaxInlineFreshBytes && has_room(fresh_bytes)) {
    for (const Range& range : fresh_)
      put(EntryKind::write, range.offset, base_ + range.offset, range.bytes);
  } else {
    // They must be durable before the record that names them.
    for (const Range& range : fresh_)
      log_.durability_.flush(base_ + range.offset, range.bytes);
    STRATA_STEP("drain new blocks");
    STRATA_TRY(log_.durability_.drain());
  }
  // What was changed in place was logged by its old bytes only.
  for (const Range& range : snapshots_) {
    if (!has_room(range.bytes)) return no_room(range.bytes);
    put(EntryKind::write, range.offset, base_ + range.offset, range.bytes);
  }
  end_announced();
  return {};
}

Result<void> RunningTransaction::commit() {
  if (open_bytes_ == sizeof(RecordHead) && !has_parts_) {
    set_state(SlotState::idle);
    close_slot();
    return {};
  }
  std::span<const std::byte> own_entries;
  if (log_.is_volatile_) {
    end_announced();
    show_to_heirs();
    set_state(SlotState::committed);
  } else {
    if (auto prepared = prepare_record(); !prepared) {
      abort();
      return prepared;
    }
    const std::span<const std::byte> entries(record() + sizeof(RecordHead),
                                             open_bytes_ - sizeof(RecordHead));
    if (auto durable = close_record(RecordKind::commit); !durable) {
      // Nothing is changed yet. Whether the record reached the medium is not known: it is made
      // void, and where the medium refuses that too, a power failure may bring it back.
      set_state(SlotState::active);
      abort();
      return unexpected(durable.error().in("commit"));
    }
    if (!has_parts_) own_entries = entries;
  }
  Result<void> completed = log_.complete(slot_, own_entries);
  if (completed) {
    close_slot();
  } else {
    has_slot_ = false;
    unlock_all();
  }
  return completed;
}

}  // namespace strata::inline v0_1
