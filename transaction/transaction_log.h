// A TransactionLog makes updates of many places in a segment happen all or not at all, whether a
// process is killed or the power fails. transaction.h is its face; this is the machine behind it.
//
// It is a redo log: a transaction writes what it wants to change into the buffer of its slot,
// seals that as a record, makes the record durable by one drain, and then changes the places
// themselves. The places become durable at a checkpoint, much later. docs/adr has the reasons,
// docs/format/transaction_log.md the bytes.
//   Threads:  any thread of any attached process; each running transaction has a slot.
//   Lifetime: log, block actions, durability and context must outlive the object.
//   Errors:   see each function; corrupt is reported before anything is changed by it.
//   Cost:     opening is proportional to what was left open; a checkpoint to what it retires.
//   Persists: committed transactions, in the order of their locks. Slots and locks do not.
//
// Memory that transactions write on a durable segment is written by transactions alone: a store
// beside them could be undone at the next open by a record that is older than it. After
// checkpoint() such a store is safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/segment/durability.h"
#include "strata/sync/sync_context.h"
#include "strata/transaction/transaction.h"
#include "transaction/block_actions.h"
#include "transaction/transaction_format.h"
#include "transaction/transaction_record.h"

namespace strata::inline v0_1 {

// What the log found and did at open and since; for people and tests.
struct LogReport {
  std::uint64_t slots = 0;
  std::uint64_t slots_in_use = 0;      // a live process has a transaction there
  std::uint64_t slots_unfinished = 0;  // a dead one had; repaired by the next owner of its lock
  std::uint64_t records = 0;           // that a power failure now would replay
  std::uint64_t next_sequence = 0;
  std::vector<std::string> findings;  // what is wrong
};

class TransactionLog {
 public:
  // Formats `log_bytes()` bytes at an offset of the payload, and makes them durable. Nobody else
  // may use the log yet. Errors: invalid_argument; what drain reports.
  static Result<void> format(std::span<std::byte> payload, std::uint64_t log_offset,
                             const TransactionLogOptions& options, Durability& durability);

  struct Place {
    std::uint64_t log_offset;
    BlockActions& blocks;
    Durability& durability;
    const SyncContext& context;
  };
  // Checks the log, and recovers: after a power failure (a new generation) everything; otherwise
  // what dead processes have left. Errors: corrupt; timed_out where another opener is stopped.
  static Result<std::unique_ptr<TransactionLog>> open(const Place& place);

  // The new owner of a lock that its owner died with: completes or undoes the transactions that
  // held it. Idempotent, and restartable wherever it is killed.
  Result<void> recover_lock(std::uint64_t lock_offset);
  // Likewise for all dead owners, whatever they held.
  Result<void> recover_dead();
  // Whether a transaction of this dead token still has to be recovered.
  bool has_unfinished(std::uint32_t token) const;

  // Makes all places durable that committed transactions changed, and forgets their records.
  // Blocks that they freed are handed out again. Nothing to do on volatile memory.
  Result<void> checkpoint();

  LogReport report() const;

 private:
  friend class RunningTransaction;

  static constexpr std::uint64_t kAppliedDurablyFromBytes = 1024;

  struct Slot {
    SlotHead* head;
    std::span<std::byte> buffer;
  };

  explicit TransactionLog(const Place& place);
  Result<void> read_identity();
  Slot slot(std::uint32_t index) const;
  std::uint64_t seed() const;
  // Never 0, which is what a new log has.
  std::uint64_t live_generation() const { return context_.generation_bits() | 1; }
  std::uint64_t owner_word() const { return context_.generation_bits() | context_.token(); }
  bool is_owner_dead(std::uint64_t owner) const;
  // On cache lines a large write is applied past the caches and drained at once, which costs less
  // than to fetch its lines for it and to write them back at the next checkpoint.
  bool is_applied_durably(std::uint64_t write_bytes) const {
    return write_bytes >= kAppliedDurablyFromBytes && !is_volatile_ && !is_by_pages();
  }
  bool is_by_pages() const { return durability_.granularity_bytes() >= kPageBytes; }
  LogBounds bounds() const {
    return {payload_bytes_.load(std::memory_order_relaxed), log_offset_,
            log_offset_ + identity_.log_bytes};
  }
  // Asks how large the payload is now; others may have grown it.
  std::span<std::byte> refresh_payload();

  // How far a slot's buffer is filled, and where in it the transaction in hand begins: copies of
  // live words, which anybody may overwrite, once they are known to lie within the buffer.
  // Errors: corrupt.
  Result<Extent> extent_of(const Slot& slot) const;
  Result<std::uint64_t> first_bytes_of(const Slot& slot, const Extent& extent) const;

  // Life of a slot (transaction_log.cc).
  Result<std::uint32_t> claim(std::uint64_t timeout_ms);
  void make_room(const Slot& slot);
  Result<void> close_record(const Slot& slot, std::uint64_t at_bytes, RecordKind kind,
                            std::span<std::byte> record);
  Result<void> make_durable(const Slot& slot);
  Result<void> sync_group(const Slot& slot);
  Result<void> lead_group(const Slot& slot);
  Result<void> sync_committed(const Slot& slot);

  // What happens to a whole transaction, by its owner or by its heir (transaction_recovery.cc).
  template <typename Function>
  Result<void> for_each_entry(const Slot& slot, Function&& visit) const;
  template <typename Function>
  Result<void> for_each_entry_in(std::span<const std::byte> entries, Function&& visit) const;
  // `entries`: all that it did, where its owner still has them at hand; else they are read.
  Result<void> complete(const Slot& slot, std::span<const std::byte> entries = {});
  Result<void> apply(const Slot& slot, std::span<const std::byte> entries, bool& frees);
  Result<void> release_blocks(const Slot& slot, EntryKind kind);
  Result<void> roll_back(const Slot& slot);
  Result<void> undo(const Slot& slot);
  Result<void> void_records(const Slot& slot);
  Result<void> recover_slot(const Slot& slot);

  // All transactions at once (transaction_checkpoint.cc).
  // A durable mark as this process holds it.
  struct Mark {
    std::uint64_t turn = 0;
    std::uint64_t epoch = 0;
    std::vector<std::uint64_t> floors;  // by slot
  };
  std::byte* mark_place(std::uint64_t turn) const;
  std::optional<Mark> read_mark(std::uint64_t turn_parity) const;
  Result<Mark> newest_mark() const;
  Result<void> write_mark(const Mark& mark);
  std::vector<std::uint64_t> finished_sequences() const;
  Result<void> flush_records(const Slot& slot, std::uint64_t above, std::uint64_t up_to,
                             std::vector<std::uint64_t>& freed);
  Result<void> recover_after_power_loss();
  Result<void> replay(const Record& record);
  Result<void> force(std::uint64_t offset, BlockState to);
  Result<void> undo_parts(std::span<const Record> parts);
  void reset_live_words(const Mark& mark);

  BlockActions& blocks_;
  Durability& durability_;
  const SyncContext& context_;
  std::uint64_t log_offset_;
  std::byte* base_ = nullptr;  // of the payload
  std::atomic<std::uint64_t> payload_bytes_{0};
  LogHeader* header_ = nullptr;  // for its live words alone
  LogIdentity identity_{};       // as it was checked; the one in the log is not read again
  bool is_volatile_;
};

}  // namespace strata::inline v0_1
