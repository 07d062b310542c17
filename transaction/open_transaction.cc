#include "strata/transaction/open_transaction.h"

namespace strata::inline v0_1 {

Result<OpenTransaction> OpenTransaction::begin(std::shared_ptr<const void> keeper,
                                               TransactionLog& log,
                                               std::span<RobustMutex* const> locks,
                                               const TransactOptions& options) {
  auto transaction = std::make_unique<Transaction>(log, Transaction::Nesting::alone);
  STRATA_TRY(transaction->begin(locks, options));
  return OpenTransaction(std::move(keeper), std::move(transaction));
}

Result<Transaction*> OpenTransaction::transaction() const {
  if (!transaction_) return fail(Code::failed_precondition, "the transaction has ended");
  if (!transaction_->is_of_this_process()) {
    return fail(Code::failed_precondition,
                "the transaction is of the process that this one was forked from");
  }
  return transaction_.get();
}

Result<void> OpenTransaction::commit() {
  STRATA_ASSIGN(Transaction* const open, transaction());
  const auto committed = open->finish({});
  transaction_.reset();
  return committed;
}

Result<void> OpenTransaction::abort() {
  STRATA_TRY(transaction());
  transaction_.reset();
  return {};
}

}  // namespace strata::inline v0_1
