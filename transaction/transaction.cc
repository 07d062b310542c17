#include "strata/transaction/transaction.h"

#include "transaction/running_transaction.h"

namespace strata::inline v0_1 {
namespace {

// Whoever has a Transaction has one that runs.
RunningTransaction& running(Transaction& tx) { return static_cast<RunningTransaction&>(tx); }
const RunningTransaction& running(const Transaction& tx) {
  return static_cast<const RunningTransaction&>(tx);
}

}  // namespace

Result<void> Transaction::write_bytes(void* target, const void* value, std::uint64_t bytes) {
  return running(*this).write_bytes(target, value, bytes);
}

void Transaction::read_bytes(void* to, const void* source, std::uint64_t bytes) const {
  running(*this).read_bytes(to, source, bytes);
}

Result<void> Transaction::snapshot_bytes(std::span<const std::span<std::byte>> ranges) {
  return running(*this).snapshot_bytes(ranges);
}

Result<Offset<std::byte>> Transaction::allocate(std::uint64_t bytes, std::uint64_t align) {
  return running(*this).allocate(bytes, align);
}

Result<void> Transaction::free(Offset<std::byte> block) { return running(*this).free(block); }

Result<void> Transaction::check_address(const void* address, std::uint64_t bytes) {
  return running(*this).check_address(address, bytes);
}

void Transaction::fail_with(const Status& status) { running(*this).fail_with(status); }

Result<void> Transaction::announce(SharedWord<std::uint64_t>& sequence) {
  return running(*this).announce(sequence);
}

std::span<std::byte> Transaction::payload() const { return running(*this).payload(); }
std::span<std::byte> Transaction::grown_payload() const { return running(*this).grown_payload(); }

Result<void> detail::run_transaction(TransactionLog& log, std::span<RobustMutex* const> locks,
                                     Result<void> (*call)(void* function, Transaction& tx),
                                     void* function, const TransactOptions& options) {
  if (RunningTransaction* const outer = RunningTransaction::current(log)) {
    STRATA_TRY(outer->join(locks, options));
    try {
      Result<void> result = call(function, *outer);
      if (!result) outer->fail_with(result.error());
      return result;
    } catch (...) {
      outer->fail_with(Status(Code::failed_precondition, "an exception left a nested call"));
      throw;
    }
  }
  RunningTransaction tx(log);
  STRATA_TRY(tx.begin(locks, options));
  try {
    return tx.finish(call(function, tx));
  } catch (...) {
    tx.abort();
    throw;
  }
}

}  // namespace strata::inline v0_1
