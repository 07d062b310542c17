// The transaction log of a heap: a block of it, found through the header's words.
#include <algorithm>

#include "heap/heap_core.h"
#include "strata/heap/heap.h"

namespace strata::inline v0_1 {

using namespace heap_layout;

namespace {

constexpr std::uint64_t kMakeTimeoutMs = 10'000;

// HeapHeader::transactions: the log, the log while it is being made, and the lock for that.
constexpr std::size_t kLogWord = 0;
constexpr std::size_t kNewLogWord = 1;
constexpr std::size_t kLockWord = 8;
static_assert((offsetof(HeapHeader, transactions) + kLockWord * sizeof(Word)) % 64 == 0);

}  // namespace

TransactionLogOptions HeapCore::default_log_options() const {
  TransactionLogOptions options;
  // Room for many transactions between two checkpoints; on volatile memory there are none.
  if (!is_volatile_) options.slot_bytes = KiB(256);
  const std::uint64_t share = memory_->bytes() / 16 / options.slot_count / kPageBytes * kPageBytes;
  options.slot_bytes = std::clamp(share, kPageBytes, options.slot_bytes);
  return options;
}

Result<void> HeapCore::make_transaction_log(const TransactionLogOptions& options) {
  if (owner_ == nullptr || is_child()) return unexpected(not_writable());
  auto& words = header().transactions;
  auto& lock = reinterpret_cast<RobustMutex&>(words[kLockWord]);
  auto guard = RobustMutex::Guard::lock(lock, *sync_, Deadline::after_ms(kMakeTimeoutMs));
  if (!guard) return unexpected(guard.error().in("make a transaction log"));
  // Whatever a maker that died has left is its block, which is used again or freed here.
  if (guard->owner_died()) STRATA_TRY(guard->mark_repaired());
  if (words[kLogWord].load(std::memory_order_acquire) != 0) {
    return fail(Code::already_exists, "make a transaction log: the heap has one");
  }
  if (words[kNewLogWord].load() != 0) STRATA_TRY(free_from(words[kNewLogWord]));
  STRATA_TRY(allocate_to(words[kNewLogWord], options.log_bytes(), kPageBytes));
  const std::uint64_t offset = words[kNewLogWord].load();
  STRATA_STEP("log allocated");
  STRATA_TRY(TransactionLog::format(payload(), offset, options, memory_->durability()));
  flush(&words[kNewLogWord], sizeof(Word));
  STRATA_STEP("log formatted");
  drain();
  // Last: whoever sees it finds a whole log.
  words[kLogWord].store(offset, std::memory_order_release);
  flush(&words[kLogWord], sizeof(Word));
  drain();
  return {};
}

Result<void> HeapCore::open_transaction_log() {
  const std::uint64_t offset = header().transactions[kLogWord].load(std::memory_order_acquire);
  STRATA_ASSIGN(log_, TransactionLog::open({.log_offset = offset,
                                            .blocks = *this,
                                            .durability = memory_->durability(),
                                            .context = *sync_}));
  on_recovery([log = log_.get()](std::uint32_t) { return log->recover_dead(); });
  open_log_.store(log_.get(), std::memory_order_release);
  return {};
}

Result<TransactionLog*> HeapCore::transactions() {
  if (TransactionLog* const log = open_log_.load(std::memory_order_acquire)) return log;
  const std::lock_guard guard(log_mutex_);
  if (log_) return log_.get();
  if (owner_ == nullptr || is_child()) return unexpected(not_writable());
  if (!has_transaction_log()) {
    const auto made = make_transaction_log(default_log_options());
    if (!made && made.error().code() != Code::already_exists) return unexpected(made.error());
  }
  STRATA_TRY(open_transaction_log());
  return log_.get();
}

Result<TransactionLog*> Heap::transactions() { return core_->transactions(); }

Result<OpenTransaction> Heap::begin_transaction(std::span<RobustMutex* const> locks,
                                                const TransactOptions& options) {
  STRATA_ASSIGN(TransactionLog* const log, core_->transactions());
  return OpenTransaction::begin(core_, *log, locks, options);
}

Result<void> Heap::make_transaction_log(const TransactionLogOptions& options) {
  return core_->make_transaction_log(options);
}

}  // namespace strata::inline v0_1
