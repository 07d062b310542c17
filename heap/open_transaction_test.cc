// Transactions without a function around them: whole or not at all, whoever ends them and in which
// order.
#include <csignal>
#include <optional>
#include <thread>

#include "heap/heap_testing.h"
#include "tests/catch.h"
#include "tests/child.h"

using namespace strata;
using namespace strata::test;

namespace {

struct Accounts {
  RobustMutex lock, other_lock;
  std::uint64_t alice = 100;
  std::uint64_t bob = 0;
};

// A heap with two accounts.
struct Bank {
  HeapHost host;
  std::optional<Heap> heap = Heap::create(host.segment()).value();
  Accounts* accounts = heap->make<Accounts>("accounts").value();

  OpenTransaction begin(Heap& in) const {
    RobustMutex* const locks[] = {&accounts->lock};
    return in.begin_transaction(locks).value();
  }
  OpenTransaction begin() { return begin(*heap); }
  Result<void> pay(const OpenTransaction& open, std::uint64_t amount) const {
    STRATA_ASSIGN(Transaction* const tx, open.transaction());
    STRATA_TRY(tx->write(accounts->alice, tx->read(accounts->alice) - amount));
    return tx->write(accounts->bob, tx->read(accounts->bob) + amount);
  }
  bool has_paid(std::uint64_t amount) const {
    return accounts->alice == 100 - amount && accounts->bob == amount;
  }
  // Whoever gets the lock, gets it at once.
  bool is_free(RobustMutex& lock) {
    const SyncContext context = host.segment().sync_context().value();
    return lock.try_lock(context).has_value() && lock.unlock(context).has_value();
  }
};

}  // namespace

TEST_CASE("what_an_open_transaction_writes_is_seen_after_its_commit_alone") {
  Bank bank;
  OpenTransaction open = bank.begin();
  REQUIRE(bank.pay(open, 10));
  CHECK(bank.has_paid(0));
  CHECK(!bank.is_free(bank.accounts->lock));
  REQUIRE(open.commit());
  CHECK(bank.has_paid(10));
  CHECK(bank.is_free(bank.accounts->lock));
  CHECK(!open.is_open());
  CHECK(open.transaction().error().code() == Code::failed_precondition);
  CHECK(open.commit().error().code() == Code::failed_precondition);
  CHECK(open.abort().error().code() == Code::failed_precondition);
}

TEST_CASE("an_open_transaction_that_is_dropped_or_aborted_leaves_nothing") {
  Bank bank;
  const std::uint64_t blocks = bank.heap->check().value().allocated_blocks;
  {
    const OpenTransaction dropped = bank.begin();
    REQUIRE(bank.pay(dropped, 10));
    REQUIRE(dropped.transaction().value()->allocate(100));
  }
  CHECK(bank.has_paid(0));
  CHECK(bank.is_free(bank.accounts->lock));
  OpenTransaction aborted = bank.begin();
  REQUIRE(bank.pay(aborted, 10));
  REQUIRE(aborted.abort());
  CHECK(bank.has_paid(0));
  CHECK(bank.is_free(bank.accounts->lock));
  // The log takes a block at the first transaction.
  CHECK(bank.heap->check().value().allocated_blocks == blocks + 1);
}

TEST_CASE("an_error_in_an_open_transaction_keeps_its_commit_from_changing_anything") {
  Bank bank;
  OpenTransaction open = bank.begin();
  REQUIRE(bank.pay(open, 10));
  std::uint64_t outside = 0;
  CHECK(open.transaction().value()->write(outside, 1).error().code() == Code::invalid_argument);
  CHECK(open.commit().error().code() == Code::invalid_argument);
  CHECK(bank.has_paid(0));
  CHECK(bank.is_free(bank.accounts->lock));
}

TEST_CASE("open_transactions_of_one_thread_end_in_any_order") {
  Bank first, second;
  RobustMutex* const others[] = {&first.accounts->other_lock};
  OpenTransaction a = first.begin();
  OpenTransaction b = second.begin();
  OpenTransaction c = first.heap->begin_transaction(others).value();
  REQUIRE(first.pay(a, 10));
  REQUIRE(second.pay(b, 20));
  REQUIRE(c.transaction().value()->allocate(64));
  // One that stands on the stack is not joined by them, nor do they join it.
  Accounts* const in_second = second.accounts;
  REQUIRE(second.heap->transact(in_second->other_lock, [&](Transaction& tx) -> Result<void> {
    STRATA_TRY(a.commit());
    STRATA_TRY(c.abort());
    return tx.write(in_second->alice, 100);
  }));
  CHECK(first.has_paid(10));
  REQUIRE(b.commit());
  CHECK(second.has_paid(20));
}

TEST_CASE("an_open_transaction_holds_the_heap_that_it_changes") {
  Bank bank;
  OpenTransaction open = bank.begin();
  REQUIRE(bank.pay(open, 10));
  bank.heap.reset();
  REQUIRE(bank.pay(open, 10));
  REQUIRE(open.commit());
  CHECK(bank.has_paid(20));
  const Heap again = Heap::open(bank.host.segment()).value();
  CHECK(again.check().value().is_consistent());
}

TEST_CASE("an_open_transaction_is_ended_by_a_thread_that_did_not_begin_it") {
  Bank bank;
  std::optional<OpenTransaction> open;
  std::thread([&] {
    open = bank.begin();
    if (!bank.pay(*open, 10)) open.reset();
  }).join();
  REQUIRE(open);
  REQUIRE(bank.pay(*open, 10));
  REQUIRE(open->commit());
  CHECK(bank.has_paid(20));
}

TEST_CASE("a_forked_child_leaves_the_open_transaction_of_its_parent_alone") {
  Bank bank;
  std::optional<OpenTransaction> open = bank.begin();
  REQUIRE(bank.pay(*open, 10));
  CHECK(child_says([&] {
    const bool is_refused = open->transaction().error().code() == Code::failed_precondition &&
                            open->commit().error().code() == Code::failed_precondition;
    open.reset();
    return is_refused;
  }));
  CHECK(!bank.is_free(bank.accounts->lock));
  REQUIRE(open->commit());
  CHECK(bank.has_paid(10));
}

TEST_CASE("a_process_killed_with_an_open_transaction_leaves_the_state_before_it") {
  Bank bank;
  CHECK(was_killed(in_child([&] {
    Opened mine(bank.host);
    Accounts* const accounts = mine.heap.find<Accounts>("accounts").value();
    RobustMutex* const locks[] = {&accounts->lock};
    const OpenTransaction open = mine.heap.begin_transaction(locks).value();
    Transaction* const tx = open.transaction().value();
    if (!tx->snapshot(accounts->bob)) return;
    accounts->bob = 77;
    if (!tx->write(accounts->alice, 1)) return;
    raise(SIGKILL);
  })));
  OpenTransaction open = bank.begin();
  CHECK(bank.has_paid(0));
  REQUIRE(bank.pay(open, 10));
  REQUIRE(open.commit());
  CHECK(bank.has_paid(10));
}
