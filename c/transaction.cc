// Transactions by begin, commit and abort.
#include <vector>

#include "c/handles.h"

using namespace strata;
using namespace strata::c;

namespace {

// Runs `body(Transaction&)`. What fails in the middle keeps all of it from being committed; where
// it threw, nobody knows how far it came.
template <typename Body>
int changed(const char* function, strata_transaction* transaction, Body&& body) {
  return guarded(function, [&]() -> Result<void> {
    STRATA_TRY(check_handle(transaction, "transaction"));
    STRATA_ASSIGN(Transaction* const open, transaction->open.transaction());
    try {
      const Result<void> result = body(*open);
      if (!result) open->fail_with(result.error());
      return result;
    } catch (...) {
      open->fail_with(Status(Code::exhausted, "a call in the middle of the transaction failed"));
      throw;
    }
  });
}

}  // namespace

int strata_transaction_begin(strata_heap* heap, strata_mutex* const* locks, size_t lock_count,
                             uint64_t timeout_ms, strata_transaction** transaction) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(heap, "heap"));
    STRATA_TRY(check_pointer(transaction, "transaction"));
    if (lock_count > kMaxTransactionLocks) return is_too_large("lock_count", lock_count);
    if (lock_count != 0) STRATA_TRY(check_pointer(locks, "locks"));
    std::vector<RobustMutex*> mutexes;
    for (strata_mutex* const lock : std::span(locks, lock_count)) {
      STRATA_TRY(check_pointer(lock, "locks"));
      if (reinterpret_cast<std::uintptr_t>(lock) % alignof(RobustMutex) != 0)
        return fail(Code::invalid_argument, "a lock of `locks` is not aligned to 8 bytes");
      mutexes.push_back(reinterpret_cast<RobustMutex*>(lock));
    }
    STRATA_ASSIGN(OpenTransaction open,
                  heap->heap.begin_transaction(mutexes, {.timeout_ms = timeout_ms}));
    *transaction = new strata_transaction(heap->heap, std::move(open));
    return {};
  });
}

int strata_transaction_write(strata_transaction* transaction, void* target, const void* value,
                             uint64_t bytes) {
  return changed(__func__, transaction, [&](Transaction& tx) -> Result<void> {
    STRATA_TRY(check_pointer(target, "target"));
    STRATA_TRY(bytes_at(value, bytes, "value"));
    return tx.write_bytes(target, value, bytes);
  });
}

int strata_transaction_read(strata_transaction* transaction, void* into, const void* source,
                            uint64_t bytes) {
  return changed(__func__, transaction, [&](Transaction& tx) -> Result<void> {
    STRATA_TRY(bytes_at(into, bytes, "into"));
    STRATA_TRY(check_pointer(source, "source"));
    STRATA_TRY(tx.check_address(source, bytes));
    tx.read_bytes(into, source, bytes);
    return {};
  });
}

int strata_transaction_snapshot(strata_transaction* transaction, const strata_range* ranges,
                                size_t range_count) {
  return changed(__func__, transaction, [&](Transaction& tx) -> Result<void> {
    if (range_count != 0) STRATA_TRY(check_pointer(ranges, "ranges"));
    std::vector<std::span<std::byte>> all;
    for (const strata_range& range : std::span(ranges, range_count)) {
      STRATA_ASSIGN(const std::span<std::byte> bytes,
                    bytes_at(range.address, range.bytes, "ranges"));
      all.push_back(bytes);
    }
    return tx.snapshot_bytes(all);
  });
}

int strata_transaction_allocate(strata_transaction* transaction, uint64_t bytes,
                                uint64_t align_bytes, uint64_t* offset) {
  return changed(__func__, transaction, [&](Transaction& tx) -> Result<void> {
    STRATA_TRY(check_pointer(offset, "offset"));
    STRATA_ASSIGN(const Offset<std::byte> block, tx.allocate(bytes, align_bytes));
    *offset = block.bytes;
    return {};
  });
}

int strata_transaction_free(strata_transaction* transaction, uint64_t offset) {
  return changed(__func__, transaction,
                 [&](Transaction& tx) { return tx.free(Offset<std::byte>{offset}); });
}

int strata_transaction_commit(strata_transaction* transaction) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(transaction, "transaction"));
    return transaction->open.commit();
  });
}

int strata_transaction_abort(strata_transaction* transaction) {
  return guarded(__func__, [&]() -> Result<void> {
    STRATA_TRY(check_handle(transaction, "transaction"));
    return transaction->open.abort();
  });
}

void strata_transaction_close(strata_transaction* transaction) { close_handle(transaction); }
