#include "strata/transaction/open_transaction.h"

#include "transaction/running_transaction.h"

namespace strata::inline v0_1 {

Result<OpenTransaction> OpenTransaction::begin(std::shared_ptr<const void> keeper,
                                               TransactionLog& log,
                                               std::span<RobustMutex* const> locks,
                                               const TransactOptions& options) {
  auto transaction = std::make_unique<RunningTransaction>(log, RunningTransaction::Nesting::alone);
  STRATA_TRY(transaction->begin(locks, options));
  return OpenTransaction(std::move(keeper), std::move(transaction));
}

OpenTransaction::OpenTransaction(std::shared_ptr<const void> keeper,
                                 std::unique_ptr<RunningTransaction> transaction)
    : keeper_(std::move(keeper)), transaction_(std::move(transaction)) {}
OpenTransaction::OpenTransaction(OpenTransaction&&) noexcept = default;
OpenTransaction& OpenTransaction::operator=(OpenTransaction&& other) noexcept {
  transaction_ = std::move(other.transaction_);  // ends before what keeps it
  keeper_ = std::move(other.keeper_);
  return *this;
}
OpenTransaction::~OpenTransaction() = default;

Result<Transaction*> OpenTransaction::transaction() const {
  if (!transaction_) return fail(Code::failed_precondition, "the transaction has ended");
  if (!transaction_->is_of_this_process()) {
    return fail(Code::failed_precondition,
                "the transaction is of the process that this one was forked from");
  }
  return transaction_.get();
}

Result<void> OpenTransaction::commit() {
  STRATA_TRY(transaction());
  const auto committed = transaction_->finish({});
  transaction_.reset();
  return committed;
}

Result<void> OpenTransaction::abort() {
  STRATA_TRY(transaction());
  transaction_.reset();
  return {};
}

}  // namespace strata::inline v0_1
