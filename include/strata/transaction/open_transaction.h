// An OpenTransaction is a Transaction without a function around it, for programs that cannot pass
// one: other languages, and work that is spread over callbacks.
//
//     STRATA_ASSIGN(OpenTransaction open, heap.begin_transaction(locks));
//     STRATA_TRY(open.transaction()->write(account.balance, 90));
//     return open.commit();
//
// Prefer transact(): it cannot be forgotten. Nested calls of transact() do not join this one: its
// locks are held, and they wait for them.
//   Threads:  one at a time, not always the same.
//   Lifetime: it holds what it changes, so that segment and heap may be destroyed before it.
//             Dropped open, it aborts. In a forked child it is its parent's: dropping it there
//             does nothing.
//   Errors:   failed_precondition once it has ended, and in a forked child; else as Transaction.
//   Cost:     as transact(), and an allocation.
//   Persists: when commit() returns success on a durable segment, it is durable.
#pragma once

#include <memory>
#include <span>
#include <utility>

#include "strata/base/result.h"
#include "strata/transaction/transaction.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

class RunningTransaction;

class OpenTransaction {
 public:
  // `keeper` keeps the log. Errors: as transact().
  static Result<OpenTransaction> begin(std::shared_ptr<const void> keeper, TransactionLog& log,
                                       std::span<RobustMutex* const> locks,
                                       const TransactOptions& options = {});
  OpenTransaction(OpenTransaction&&) noexcept;
  OpenTransaction& operator=(OpenTransaction&& other) noexcept;
  ~OpenTransaction();

  bool is_open() const { return transaction_ != nullptr; }
  // What it is changed through, until it ends.
  Result<Transaction*> transaction() const;
  // All of it has happened, or, after an error, nothing. It has ended either way.
  Result<void> commit();
  // Nothing of it has happened.
  Result<void> abort();

 private:
  OpenTransaction(std::shared_ptr<const void> keeper,
                  std::unique_ptr<RunningTransaction> transaction);

  std::shared_ptr<const void> keeper_;
  std::unique_ptr<RunningTransaction> transaction_;  // null: it has ended
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
