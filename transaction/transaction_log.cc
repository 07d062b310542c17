#include "transaction/transaction_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "base/check.h"
#include "strata/base/step.h"
#include "strata/os/futex.h"
#include "strata/sync/wait.h"
#include "transaction/transaction_check.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kOpenTimeoutMs = 60'000;
constexpr std::uint64_t kClaimSliceNs = 1'000'000;

std::uint64_t random_seed() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

}  // namespace

std::uint64_t TransactionLogOptions::log_bytes() const {
  return slot_buffers_at(slot_count) + slot_count * slot_bytes;
}

Result<void> TransactionLog::format(std::span<std::byte> payload, std::uint64_t log_offset,
                                    const TransactionLogOptions& options, Durability& durability) {
  const std::uint64_t bytes = options.log_bytes();
  if (options.slot_count == 0 || options.slot_count > 4096 || options.slot_bytes < kPageBytes ||
      options.slot_bytes % kPageBytes != 0 || options.slot_bytes > GiB(1)) {
    return fail(
        Code::invalid_argument,
        fmt::format("transaction log of {} slots of {} bytes: needs 1 to 4096 slots of whole "
                    "pages, at most 1 GiB each",
                    options.slot_count, options.slot_bytes));
  }
  if (log_offset % kCacheLineBytes != 0 || log_offset > payload.size() ||
      bytes > payload.size() - log_offset) {
    return fail(Code::invalid_argument,
                fmt::format("transaction log at {}: {} bytes do not fit into the payload of {} or "
                            "are not aligned to a cache line",
                            log_offset, bytes, payload.size()));
  }
  std::byte* const log = payload.data() + log_offset;
  std::memset(log, 0, slot_buffers_at(options.slot_count));
  auto& header = *reinterpret_cast<LogHeader*>(log);
  LogIdentity identity{};
  identity.magic = kLogMagic;
  identity.version = kLogVersion;
  identity.slot_count = options.slot_count;
  identity.slot_bytes = options.slot_bytes;
  identity.log_bytes = bytes;
  identity.seed = random_seed();
  identity.crc32c = log_identity_crc(identity);
  header.identity = identity;
  auto& mark = *reinterpret_cast<LogMark*>(log + sizeof(LogHeader));
  mark = {.turn = 0, .epoch = 1, .check = 0};
  const std::vector<std::uint64_t> floors(options.slot_count);
  mark.check = mark_check(mark, floors, identity.seed);
  return durability.persist(log, slot_buffers_at(options.slot_count));
}

TransactionLog::TransactionLog(const Place& place)
    : blocks_(place.blocks),
      durability_(place.durability),
      context_(place.context),
      log_offset_(place.log_offset),
      is_volatile_(place.durability.is_volatile()) {}

Result<void> TransactionLog::read_identity() {
  const std::span<std::byte> payload = refresh_payload();
  STRATA_ASSIGN(identity_, read_log_identity(payload, log_offset_));
  header_ = reinterpret_cast<LogHeader*>(payload.data() + log_offset_);
  return {};
}

Result<std::unique_ptr<TransactionLog>> TransactionLog::open(const Place& place) {
  std::unique_ptr<TransactionLog> log(new TransactionLog(place));
  STRATA_TRY(log->read_identity());
  auto upkeep = RobustMutex::Guard::lock(log->header_->upkeep, place.context,
                                         Deadline::after_ms(kOpenTimeoutMs));
  if (!upkeep) return unexpected(upkeep.error().in("open the transaction log"));
  // What a predecessor did not finish is done again from the start; each step bears that.
  if (upkeep->owner_died()) STRATA_TRY(upkeep->mark_repaired());
  const std::uint64_t generation = log->live_generation();
  if (log->header_->live_generation.load(std::memory_order_acquire) == generation) {
    STRATA_TRY(log->recover_dead());
    return log;
  }
  if (log->is_volatile_) {
    STRATA_TRY(log->recover_dead());
    STRATA_ASSIGN(const Mark mark, log->newest_mark());
    log->reset_live_words(mark);
  } else {
    STRATA_TRY(log->recover_after_power_loss());
  }
  // Last: whoever finds this generation may trust all live words.
  log->header_->live_generation.store(generation, std::memory_order_release);
  return log;
}

TransactionLog::Slot TransactionLog::slot(std::uint32_t index) const {
  std::byte* const log = reinterpret_cast<std::byte*>(header_);
  return {reinterpret_cast<SlotHead*>(log + slot_heads_at(identity_.slot_count)) + index,
          {log + slot_buffers_at(identity_.slot_count) + index * identity_.slot_bytes,
           identity_.slot_bytes}};
}

Result<Extent> TransactionLog::extent_of(const Slot& slot) const {
  const Extent extent = Extent::of(slot.head->extent.load(std::memory_order_acquire));
  const std::uint64_t bytes = slot.buffer.size();
  if (extent.used_bytes <= bytes && extent.used_bytes % kCacheLineBytes == 0 &&
      extent.open_bytes <= bytes - extent.used_bytes) {
    return extent;
  }
  return fail(Code::corrupt,
              fmt::format("transaction log: a slot of {} bytes says that {} are used "
                          "and {} more are open",
                          bytes, extent.used_bytes, extent.open_bytes));
}

Result<std::uint64_t> TransactionLog::first_bytes_of(const Slot& slot, const Extent& extent) const {
  const std::uint64_t first = slot.head->first_bytes.load(std::memory_order_acquire);
  if (first <= extent.used_bytes) return first;
  return fail(Code::corrupt,
              fmt::format("transaction log: a slot's transaction begins at {} of {} bytes used",
                          first, extent.used_bytes));
}

std::uint64_t TransactionLog::seed() const {
  return record_seed(identity_.seed, header_->epoch.load(std::memory_order_relaxed));
}

std::span<std::byte> TransactionLog::refresh_payload() {
  const std::span<std::byte> payload = blocks_.payload();
  if (base_ == nullptr) base_ = payload.data();  // it never moves
  payload_bytes_.store(payload.size(), std::memory_order_relaxed);
  return payload;
}

bool TransactionLog::is_owner_dead(std::uint64_t owner) const {
  if (owner == 0) return false;
  if ((owner & ~std::uint64_t{0xFFFFFFFF}) != context_.generation_bits()) return true;
  return context_.is_dead(static_cast<std::uint32_t>(owner));
}

Result<std::uint32_t> TransactionLog::claim(std::uint64_t timeout_ms) {
  if (context_.token() == 0) {
    return fail(Code::failed_precondition,
                "a forked child has to attach anew before it runs transactions");
  }
  // Each thread goes back to the slot that it had: nobody else touches its cache lines.
  static thread_local std::uint32_t last = context_.token();
  const std::uint32_t first = last % identity_.slot_count;
  std::optional<Deadline> deadline;  // the clock is read only if there is something to wait for
  while (true) {
    for (std::uint32_t i = 0; i < identity_.slot_count; ++i) {
      const std::uint32_t index =
          first + i < identity_.slot_count ? first + i : first + i - identity_.slot_count;
      SlotHead& head = *slot(index).head;
      std::uint64_t owner = head.owner.load(std::memory_order_relaxed);
      if (owner == 0 &&
          head.owner.compare_exchange(owner, owner_word(), std::memory_order_acquire)) {
        last = index;
        return index;
      }
    }
    STRATA_TRY(recover_dead());
    if (!deadline) deadline = Deadline::after_ms(timeout_ms);
    if (deadline->expired()) {
      return fail(Code::timed_out, fmt::format("all {} slots of the transaction log are in use",
                                               identity_.slot_count));
    }
    SlotHead& head = *slot(first).head;
    const std::uint64_t owner = head.owner.load(std::memory_order_relaxed);
    if (owner != 0) {
      futex_wait(head.owner.futex(), static_cast<std::uint32_t>(owner),
                 deadline->slice(kClaimSliceNs));
    }
  }
}

void TransactionLog::make_room(const Slot& slot) {
  SlotHead& head = *slot.head;
  if (head.extent.load(std::memory_order_relaxed) == 0) return;
  if (is_volatile_) {
    head.extent.store(0, std::memory_order_relaxed);
    return;
  }
  const auto forget = [&] {
    if (head.last_sequence.load(std::memory_order_relaxed) >
        head.retired_sequence.load(std::memory_order_acquire)) {
      return false;
    }
    head.extent.store(0, std::memory_order_release);
    return true;
  };
  if (forget()) return;
  if (Extent::of(head.extent.load(std::memory_order_relaxed)).used_bytes <=
      identity_.slot_bytes / 2)
    return;
  // Without success the transaction has less room, and says so where that is too little.
  if (checkpoint()) forget();
}

// Completes the record, which its owner has built apart in whole cache lines, and puts it into the
// slot's buffer, where it fits: its owner knows that better than the words of the slot do. There it
// is durable where the medium works by lines; on pages sync_group() is still to come.
Result<void> TransactionLog::close_record(const Slot& slot, std::uint64_t at_bytes, RecordKind kind,
                                          std::span<std::byte> record) {
  SlotHead& head = *slot.head;
  if (head.low_sequence.load(std::memory_order_relaxed) == 0) {
    // Before the sequence is taken: a checkpoint that sees no low_sequence here has read a
    // next_sequence that is not above the one taken below.
    head.low_sequence.store(header_->next_sequence.load(std::memory_order_relaxed),
                            std::memory_order_release);
  }
  const std::uint64_t sequence = header_->next_sequence.fetch_add(1, std::memory_order_seq_cst);
  finish_record(record, kind, sequence, seed());
  STRATA_STEP("seal");
  std::byte* const place = slot.buffer.data() + at_bytes;
  if (is_by_pages()) {
    std::memcpy(place, record.data(), record.size());
  } else {
    durability_.copy(place, record.data(), align_up(record.size(), kCacheLineBytes));
    STRATA_STEP("drain a record");
    STRATA_TRY(durability_.drain());
  }
  STRATA_STEP("sealed");
  head.last_sequence.store(sequence, std::memory_order_release);
  const std::uint64_t end = align_up(at_bytes + record.size(), kCacheLineBytes);
  head.extent.store(Extent{static_cast<std::uint32_t>(end), 0}.word(), std::memory_order_release);
  return {};
}

// For an heir, who cannot know whether the owner came so far; and on pages for the owner too.
Result<void> TransactionLog::make_durable(const Slot& slot) {
  if (is_by_pages()) return sync_group(slot);
  STRATA_ASSIGN(const Extent extent, extent_of(slot));
  STRATA_ASSIGN(const std::uint64_t first, first_bytes_of(slot, extent));
  durability_.flush(slot.buffer.data() + first, extent.used_bytes - first);
  return durability_.drain();
}

// A sync of a file takes as long for many records as for one, so whoever gets the lock syncs for
// all that have committed. The others do not queue for the lock, which the next leader would have
// taken again before they are awake: they wait for their record to be durable.
Result<void> TransactionLog::sync_group(const Slot& slot) {
  const std::uint64_t sequence = slot.head->last_sequence.load(std::memory_order_relaxed);
  const auto is_durable = [&] {
    return slot.head->durable_sequence.load(std::memory_order_acquire) >= sequence;
  };
  SlicedWait wait(Deadline::after_ms(kOpenTimeoutMs));
  std::optional<std::uint32_t> ticket;  // none in the first round, which seldom has to sleep
  bool overslept = false;
  while (!is_durable()) {
    const RobustMutex::Standing leader = header_->group_sync.look(context_);
    if (leader.token == 0 || !leader.is_possible || (overslept && context_.is_dead(leader.token))) {
      Result<void> led = lead_group(slot);
      if (led || led.error().code() != Code::timed_out) return led;
    } else if (wait.expired()) {
      return fail(Code::timed_out, "the transaction log is being synced, for too long, by " +
                                       context_.describe(leader.token));
    }
    overslept = ticket && header_->group_synced.sleep(*ticket, wait);
    ticket = header_->group_synced.prepare();
  }
  return {};
}

// Syncs all that have committed, `slot` with them. timed_out where a live process does so already.
Result<void> TransactionLog::lead_group(const Slot& slot) {
  {
    auto guard = RobustMutex::Guard::lock(header_->group_sync, context_, Deadline::after_ms(0));
    if (!guard) return unexpected(guard.error());
    if (guard->owner_died()) STRATA_TRY(guard->mark_repaired());
    STRATA_TRY(sync_committed(slot));
  }
  header_->group_synced.wake_all();
  return {};
}

Result<void> TransactionLog::sync_committed(const Slot& slot) {
  struct Synced {
    SlotHead* head;
    std::uint64_t sequence;
  };
  std::vector<Synced> synced;
  for (std::uint32_t i = 0; i < identity_.slot_count; ++i) {
    const Slot other = this->slot(i);
    const std::uint64_t last = other.head->last_sequence.load(std::memory_order_acquire);
    const bool waits = other.head->state.load(std::memory_order_acquire) ==
                       static_cast<std::uint32_t>(SlotState::committed);
    if (other.head != slot.head &&
        (!waits || last <= other.head->durable_sequence.load(std::memory_order_relaxed))) {
      continue;
    }
    // A slot that waits keeps these words until it is durable. Of one that does no longer,
    // whatever is flushed here is flushed for nothing.
    const auto extent = extent_of(other);
    const auto first = extent ? first_bytes_of(other, *extent) : unexpected(extent.error());
    if (!first) {
      if (other.head == slot.head) return unexpected(first.error());
      continue;
    }
    durability_.flush(other.buffer.data() + *first, extent->used_bytes - *first);
    synced.push_back({other.head, last});
  }
  STRATA_STEP("drain a group");
  STRATA_TRY(durability_.drain());
  for (const Synced& one : synced)
    one.head->durable_sequence.store(one.sequence, std::memory_order_release);
  return {};
}

LogReport TransactionLog::report() const {
  LogReport report;
  report.slots = identity_.slot_count;
  report.next_sequence = header_->next_sequence.load(std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < identity_.slot_count; ++i) {
    const Slot slot = this->slot(i);
    const std::uint64_t owner = slot.head->owner.load(std::memory_order_acquire);
    const std::uint32_t state = slot.head->state.load(std::memory_order_acquire);
    if (state > static_cast<std::uint32_t>(SlotState::undone)) {
      report.findings.push_back(fmt::format("slot {}: state {} is none", i, state));
    }
    if (owner != 0)
      ++(is_owner_dead(owner) && state != 0 ? report.slots_unfinished : report.slots_in_use);
    const auto extent = extent_of(slot);
    if (!extent) {
      report.findings.push_back(fmt::format("slot {}: {}", i, extent.error().message()));
      continue;
    }
    for (std::uint64_t at = 0; at < extent->used_bytes;) {
      const std::optional<Record> record = read_record(slot.buffer, at, seed());
      if (!record) {
        if (owner == 0) {
          report.findings.push_back(fmt::format("slot {}: record at {} is damaged", i, at));
        }
        break;
      }
      if (record->sequence > slot.head->retired_sequence.load(std::memory_order_relaxed)) {
        ++report.records;
      }
      at = record->end_bytes;
    }
  }
  if (auto checked = header_->upkeep.check(); !checked)
    report.findings.push_back(checked.error().in("upkeep lock").message());
  if (auto checked = header_->group_sync.check(); !checked)
    report.findings.push_back(checked.error().in("sync lock").message());
  return report;
}

}  // namespace strata::inline v0_1
