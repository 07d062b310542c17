// A RunningTransaction is what stands behind a Transaction: the record that it builds in its slot
// of the log, the locks that it holds, and what it has to undo.
//   Threads:  of the one that made it.
//   Lifetime: an open one that ends is aborted. The log must outlive it.
//   Errors:   as Transaction.
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "strata/base/result.h"
#include "strata/sync/robust_mutex.h"
#include "strata/transaction/transaction.h"
#include "transaction/record_scratch.h"
#include "transaction/transaction_log.h"
#include "transaction/transaction_writes.h"

namespace strata::inline v0_1 {

class RunningTransaction final : public Transaction {
 public:
  // For transact(): nested calls of the thread join it. For OpenTransaction: it stands alone.
  enum class Nesting : std::uint8_t { joined, alone };
  // That of this thread on this log; null where it has none.
  static RunningTransaction* current(const TransactionLog& log);
  explicit RunningTransaction(TransactionLog& log, Nesting nesting = Nesting::joined);
  // Aborts what is open, but for a forked child's copy: that is its parent's.
  ~RunningTransaction();
  // False in a forked child, which must not touch it.
  bool is_of_this_process() const;
  Result<void> begin(std::span<RobustMutex* const> locks, const TransactOptions& options);
  Result<void> join(std::span<RobustMutex* const> locks, const TransactOptions& options);
  Result<void> finish(Result<void> result);
  void abort();
  void fail_with(const Status& status);

  // See Transaction.
  Result<void> check_address(const void* address, std::uint64_t bytes);
  Result<void> write_bytes(void* target, const void* value, std::uint64_t bytes);
  void read_bytes(void* to, const void* source, std::uint64_t bytes) const;
  Result<void> snapshot_bytes(std::span<const std::span<std::byte>> ranges);
  Result<Offset<std::byte>> allocate(std::uint64_t bytes, std::uint64_t align);
  Result<void> free(Offset<std::byte> block);
  Result<void> announce(SharedWord<std::uint64_t>& sequence);
  std::span<std::byte> payload() const { return {base_, bounds_.payload_bytes}; }
  std::span<std::byte> grown_payload() const { return log_.refresh_payload(); }

 private:
  struct Range {
    std::uint64_t offset;
    std::uint64_t bytes;
    bool contains(std::uint64_t at, std::uint64_t count) const {
      return at >= offset && count <= bytes && at - offset <= bytes - count;
    }
    bool overlaps(std::uint64_t at, std::uint64_t count) const {
      return at < offset + bytes && offset < at + count;
    }
  };
  using Ranges = boost::container::small_vector<Range, 4>;
  enum class InPlace : std::uint8_t { no, yes, partly };
  // A word of announce(), and what it will be in the end.
  struct Announced {
    std::uint64_t offset;
    std::uint64_t even;
  };

  Result<void> take(RobustMutex& lock, std::uint64_t timeout_ms);
  Result<void> open_slot(const TransactOptions& options);
  void close_slot();
  void unlock_all();
  Result<void> check_range(std::uint64_t offset, std::uint64_t bytes);
  Result<void> refuse(Status status);
  Unexpected no_room(std::uint64_t bytes);
  InPlace in_place(std::uint64_t offset, std::uint64_t bytes) const;
  bool has_room(std::uint64_t data_bytes) const;
  void put(EntryKind kind, std::uint64_t offset, const void* data, std::uint64_t bytes);
  void show_to_heirs();
  void open_record();
  std::byte* record() const { return records_ + (used_bytes_ - records_at_bytes_); }
  Result<void> close_record(RecordKind kind);
  Result<void> log_old_bytes(std::uint64_t offset, std::uint64_t bytes);
  Result<std::uint64_t> reserve(std::uint64_t bytes, std::uint64_t align);
  Result<void> commit();
  Result<void> prepare_record();
  void end_announced();
  void set_state(SlotState state);

  TransactionLog& log_;
  Nesting nesting_;
  std::uint32_t token_ = 0;  // of the process that began it
  TransactionLog::Slot slot_{};
  std::byte* base_ = nullptr;
  LogBounds bounds_;
  RunningTransaction* outer_ = nullptr;  // another log's, of this thread
  std::uint64_t used_bytes_ = 0;         // start of the open record
  std::uint64_t open_bytes_ = 0;         // its entries so far, with its head
  // On durable memory: what of it an heir can see in the log.
  std::uint64_t shown_bytes_ = 0;
  RecordScratch scratch_;         // of durable memory only
  std::byte* records_ = nullptr;  // where the record of records_at_bytes_ is built
  std::uint64_t records_at_bytes_ = 0;
  std::uint64_t kept_bytes_ = 0;  // of room, for the end of what was announced
  bool has_slot_ = false;
  bool has_parts_ = false;
  boost::container::small_vector<RobustMutex*, 4> locks_;
  PendingWrites writes_;
  boost::container::small_vector<Announced, 2> announced_;
  Ranges snapshots_;
  Ranges fresh_;                                            // blocks allocated here, sorted
  boost::container::small_vector<std::uint64_t, 4> freed_;  // sorted
  std::optional<Status> failed_;
};

}  // namespace strata::inline v0_1
