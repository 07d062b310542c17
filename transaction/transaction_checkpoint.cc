// Checkpoints, the durable mark, and the recovery of everything after the power failed.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/stream_copy.h"
#include "strata/base/step.h"
#include "transaction/transaction_check.h"
#include "transaction/transaction_log.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kUpkeepTimeoutMs = 60'000;

}  // namespace

std::byte* TransactionLog::mark_place(std::uint64_t turn) const {
  return reinterpret_cast<std::byte*>(header_) + sizeof(LogHeader) +
         turn % 2 * mark_bytes(identity_.slot_count);
}

std::optional<TransactionLog::Mark> TransactionLog::read_mark(std::uint64_t turn_parity) const {
  Mark mark;
  const std::optional<LogMark> head = read_log_mark(reinterpret_cast<const std::byte*>(header_),
                                                    identity_, turn_parity, mark.floors);
  if (!head) return {};
  mark.turn = head->turn;
  mark.epoch = head->epoch;
  return mark;
}

Result<TransactionLog::Mark> TransactionLog::newest_mark() const {
  std::optional<Mark> a = read_mark(0), b = read_mark(1);
  if (!a && !b) return fail(Code::corrupt, "transaction log: neither of its marks is valid");
  return a && (!b || a->turn > b->turn) ? std::move(*a) : std::move(*b);
}

// Over the older one: a torn write leaves the newer one.
Result<void> TransactionLog::write_mark(const Mark& mark) {
  LogMark head = {mark.turn, mark.epoch, 0};
  head.check = mark_check(head, mark.floors, identity_.seed);
  std::byte* const place = mark_place(mark.turn);
  const std::size_t floors_bytes = mark.floors.size() * sizeof(std::uint64_t);
  STRATA_STEP("write the mark");
  std::memcpy(place + sizeof(head), mark.floors.data(), floors_bytes);
  STRATA_STEP("write the head of the mark");
  std::memcpy(place, &head, sizeof(head));
  durability_.flush(place, sizeof(head) + floors_bytes);
  STRATA_STEP("drain the mark");
  return durability_.drain();
}

// For each slot, up to which sequence its transactions are in place, or were undone.
//
// A transaction that is under way keeps its records, and those alone: whatever committed after it
// and conflicts with it would have needed its locks. So a process that is stopped in the middle
// keeps nobody else from having its records retired.
std::vector<std::uint64_t> TransactionLog::finished_sequences() const {
  // Read first: a slot that takes a sequence below it shows its low_sequence by now.
  const std::uint64_t next = header_->next_sequence.load(std::memory_order_seq_cst);
  std::vector<std::uint64_t> finished(identity_.slot_count, next - 1);
  for (std::uint32_t i = 0; i < identity_.slot_count; ++i) {
    const SlotHead& head = *slot(i).head;
    if (head.state.load(std::memory_order_seq_cst) == 0) continue;
    const std::uint64_t low = head.low_sequence.load(std::memory_order_seq_cst);
    if (low != 0) finished[i] = std::min(finished[i], low - 1);
    finished[i] = std::max(finished[i], head.retired_sequence.load(std::memory_order_relaxed));
  }
  return finished;
}

// Flushes what the records of a slot between two sequences have changed, and collects what they
// freed. They stand still: no slot with a record above the last checkpoint begins anew, and this
// one holds the lock. So their heads are enough, and nothing behind the last of them is looked at.
Result<void> TransactionLog::flush_records(const Slot& slot, std::uint64_t above,
                                           std::uint64_t up_to, std::vector<std::uint64_t>& freed) {
  const LogBounds bounds = this->bounds();
  std::byte* const base = base_;
  // Before the extent, which a slot that begins anew has reset before it seals a record.
  if (slot.head->last_sequence.load(std::memory_order_acquire) <= above) return {};
  STRATA_ASSIGN(const Extent extent, extent_of(slot));
  for (std::uint64_t at = 0; at < extent.used_bytes;) {
    const std::optional<Record> record = read_live_record(slot.buffer, at);
    if (!record || record->sequence > up_to) break;
    const std::byte* const head = slot.buffer.data() + at;
    at = record->end_bytes;
    if (record->sequence <= above) continue;
    EntryCursor cursor(record->entries, bounds);
    for (Entry entry; cursor.next(entry);) {
      if (entry.kind == EntryKind::write) {
        if (!is_applied_durably(entry.data.size())) {
          durability_.flush(base + entry.offset, entry.data.size());
        }
      } else if (entry.kind != EntryKind::undo) {
        const std::span<const std::byte> state = blocks_.state_bytes(entry.offset);
        durability_.flush(state.data(), state.size());
      }
      if (entry.kind == EntryKind::free) freed.push_back(entry.offset);
      evict(entry.data.data() - sizeof(EntryHead));
    }
    // The next record here is written past the caches.
    evict(head);
  }
  return {};
}

Result<void> TransactionLog::checkpoint() {
  if (is_volatile_) return {};
  auto guard =
      RobustMutex::Guard::lock(header_->upkeep, context_, Deadline::after_ms(kUpkeepTimeoutMs));
  if (!guard) return unexpected(guard.error().in("checkpoint of the transaction log"));
  if (guard->owner_died()) STRATA_TRY(guard->mark_repaired());
  refresh_payload();
  const std::vector<std::uint64_t> finished = finished_sequences();
  std::vector<std::uint64_t> freed;
  for (std::uint32_t i = 0; i < identity_.slot_count; ++i) {
    const Slot slot = this->slot(i);
    const std::uint64_t retired = slot.head->retired_sequence.load(std::memory_order_acquire);
    if (finished[i] > retired) STRATA_TRY(flush_records(slot, retired, finished[i], freed));
  }
  STRATA_STEP("drain a checkpoint");
  STRATA_TRY(durability_.drain());
  STRATA_ASSIGN(const Mark old, newest_mark());
  STRATA_TRY(write_mark({old.turn + 1, old.epoch, finished}));
  for (const std::uint64_t offset : freed) {
    STRATA_STEP("release after a checkpoint");
    STRATA_TRY(blocks_.change(offset, BlockState::freeing, BlockState::free));
  }
  // Last: from here on slots may overwrite those records.
  for (std::uint32_t i = 0; i < identity_.slot_count; ++i)
    slot(i).head->retired_sequence.store(finished[i], std::memory_order_release);
  return {};
}

Result<void> TransactionLog::force(std::uint64_t offset, BlockState to) {
  const Result<BlockState> state = blocks_.state(offset);
  // A block that has been freed beside all transactions since: there is nothing to repeat.
  if (!state) return {};
  STRATA_STEP("replay a block");
  STRATA_TRY(blocks_.change(offset, *state, to));
  const std::span<const std::byte> bytes = blocks_.state_bytes(offset);
  durability_.flush(bytes.data(), bytes.size());
  return {};
}

Result<void> TransactionLog::replay(const Record& record) {
  std::byte* const base = base_;
  EntryCursor cursor(record.entries, bounds());
  for (Entry entry; cursor.next(entry);) {
    switch (entry.kind) {
      case EntryKind::write:
        STRATA_STEP("replay a write");
        std::memcpy(base + entry.offset, entry.data.data(), entry.data.size());
        durability_.flush(base + entry.offset, entry.data.size());
        break;
      case EntryKind::undo: break;
      case EntryKind::allocate: STRATA_TRY(force(entry.offset, BlockState::allocated)); break;
      case EntryKind::free: STRATA_TRY(force(entry.offset, BlockState::freeing)); break;
    }
  }
  if (cursor.is_malformed()) {
    return fail(Code::corrupt, fmt::format("transaction log: record {} has a valid checksum and a "
                                           "malformed entry",
                                           record.sequence));
  }
  return {};
}

Result<void> TransactionLog::undo_parts(std::span<const Record> parts) {
  std::byte* const base = base_;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    std::vector<Entry> old;
    EntryCursor cursor(part->entries, bounds());
    for (Entry entry; cursor.next(entry);)
      if (entry.kind == EntryKind::undo) old.push_back(entry);
    for (auto entry = old.rbegin(); entry != old.rend(); ++entry) {
      STRATA_STEP("undo a part");
      std::memcpy(base + entry->offset, entry->data.data(), entry->data.size());
      durability_.flush(base + entry->offset, entry->data.size());
    }
  }
  return {};
}

// Nothing but records counts here: live words are from before the failure, or from the middle.
Result<void> TransactionLog::recover_after_power_loss() {
  STRATA_ASSIGN(Mark mark, newest_mark());
  const std::uint64_t seed = record_seed(identity_.seed, mark.epoch);
  struct Committed {
    std::uint64_t sequence;
    std::vector<Record> records;
  };
  std::vector<Committed> committed;
  std::vector<std::vector<Record>> unfinished;
  std::uint64_t highest = *std::max_element(mark.floors.begin(), mark.floors.end());
  for (std::uint32_t i = 0; i < identity_.slot_count; ++i) {
    std::vector<Record> parts;
    std::uint64_t previous = 0;
    for (std::uint64_t at = 0; at < identity_.slot_bytes;) {
      const std::optional<Record> record = read_record(slot(i).buffer, at, seed);
      // A lower sequence is left over from the time before the buffer was used again.
      if (!record || record->sequence <= previous) break;
      previous = record->sequence;
      at = record->end_bytes;
      if (record->sequence <= mark.floors[i]) continue;
      highest = std::max(highest, record->sequence);
      parts.push_back(*record);
      if (record->kind == RecordKind::commit) {
        committed.push_back({record->sequence, std::move(parts)});
        parts.clear();
      }
    }
    if (!parts.empty()) unfinished.push_back(std::move(parts));
  }
  std::sort(committed.begin(), committed.end(),
            [](const Committed& a, const Committed& b) { return a.sequence < b.sequence; });
  for (const Committed& transaction : committed)
    for (const Record& record : transaction.records)
      STRATA_TRY(replay(record));
  // Their old bytes are those after the last commit, since they held the locks.
  for (const std::vector<Record>& parts : unfinished)
    STRATA_TRY(undo_parts(parts));
  STRATA_TRY(blocks_.release_leftovers());
  STRATA_STEP("drain a recovery");
  STRATA_TRY(durability_.drain());
  // The new epoch makes every record void at once.
  mark = {mark.turn + 1, mark.epoch + 1, std::vector<std::uint64_t>(identity_.slot_count, highest)};
  STRATA_TRY(write_mark(mark));
  reset_live_words(mark);
  return {};
}

void TransactionLog::reset_live_words(const Mark& mark) {
  const auto relaxed = std::memory_order_relaxed;
  const std::uint64_t highest = *std::max_element(mark.floors.begin(), mark.floors.end());
  header_->next_sequence.store(highest + 1, relaxed);
  header_->epoch.store(mark.epoch, relaxed);
  for (std::uint32_t i = 0; i < identity_.slot_count; ++i) {
    SlotHead& head = *slot(i).head;
    head.state.store(static_cast<std::uint32_t>(SlotState::idle), relaxed);
    head.extent.store(0, relaxed);
    head.first_bytes.store(0, relaxed);
    head.low_sequence.store(0, relaxed);
    head.last_sequence.store(0, relaxed);
    head.durable_sequence.store(0, relaxed);
    head.retired_sequence.store(highest, relaxed);
    head.owner.store(0, relaxed);
  }
}

}  // namespace strata::inline v0_1
