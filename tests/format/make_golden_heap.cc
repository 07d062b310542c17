// The heaps of golden_heap.h. A process that commits dies while it applies what it has committed,
// as a page that it writes to has become read-only for it: wherever the kernel and the machine
// take their time, it is always at the same store.
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "base/check.h"
#include "os/os.h"
#include "tests/child.h"
#include "tests/format/golden_heap.h"
#include "tests/format/make_golden.h"
#include "transaction/transaction_log.h"

namespace strata::inline v0_1::golden {
namespace {

// The segment in a process that uses it.
struct User {
  explicit User(const std::string& uri)
      : segment(catalog.attach(uri).value()),
        heap(Heap::open(segment).value()),
        ledger(*heap.find<Ledger>("ledger").value()),
        cells(heap.get(ledger.cells, kCells)) {}
  RealOs os;
  Catalog catalog = make_catalog(os);
  Segment segment;
  Heap heap;
  Ledger& ledger;
  std::uint64_t* cells;
};

Result<void> fill_map(Transaction& tx, Ledger& ledger) {
  for (std::uint64_t i = 0; i < kKeys; ++i)
    STRATA_TRY(ledger.map.set(tx, "key " + std::to_string(i), i * i));
  STRATA_ASSIGN(const bool was_there, ledger.map.erase(tx, "key " + std::to_string(kErasedKey)));
  STRATA_CHECK(was_there);
  return {};
}

void fill(Heap& heap) {
  STRATA_CHECK(heap.make<Answer>("the answer", Answer{42}));
  STRATA_CHECK(heap.make<RobustMutex>("a lock"));
  STRATA_CHECK(heap.make_transaction_log({.slot_count = 4, .slot_bytes = KiB(64)}));
  Ledger& ledger = *heap.make<Ledger>("ledger").value();
  STRATA_CHECK(heap.transact(ledger.committed, [&](Transaction& tx) -> Result<void> {
    STRATA_ASSIGN(const Offset<std::byte> cells, tx.allocate(kCells * 8, kPageBytes));
    for (std::uint64_t i = 0; i < kCells; ++i)
      tx.get(Offset<std::uint64_t>{cells.bytes}, kCells)[i] = 1000 + i;
    STRATA_TRY(tx.write(ledger.cells, Offset<std::uint64_t>{cells.bytes}));
    STRATA_ASSIGN(const Offset<std::byte> old, tx.allocate(300));
    std::memset(tx.get(old, 300), 'o', 300);
    return tx.write(ledger.old, old);
  }));
  STRATA_CHECK(
      heap.transact(ledger.committed, [&](Transaction& tx) { return fill_map(tx, ledger); }));
  STRATA_CHECK(heap.transactions().value()->checkpoint());
}

// Never returns: dies by a signal between the commit and its end.
Result<void> commit_and_die(const std::string& uri) {
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  User me(uri);
  Ledger& ledger = me.ledger;
  return me.heap.transact(ledger.committed, [&](Transaction& tx) -> Result<void> {
    STRATA_TRY(tx.write(me.cells[0], 111));
    STRATA_TRY(tx.write(me.cells[kCellsOfPage], 222));
    STRATA_TRY(ledger.map.set(tx, "committed", 5));
    STRATA_ASSIGN(const Offset<std::byte> fresh, tx.allocate(kFreshBytes));
    std::memset(tx.get(fresh, kFreshBytes), 'n', kFreshBytes);
    STRATA_TRY(tx.write(ledger.fresh, fresh));
    STRATA_TRY(tx.free(tx.read(ledger.old)));
    STRATA_TRY(tx.write(ledger.old, Offset<std::byte>{}));
    return me.os.mprotect(me.cells + kCellsOfPage, kPageBytes, PROT_READ);
  });
}

// Says so once it has begun, and waits to be killed.
Result<void> begin_and_wait(const std::string& uri, int tell) {
  User me(uri);
  return me.heap.transact(me.ledger.begun, [&](Transaction& tx) -> Result<void> {
    STRATA_TRY(tx.snapshot(me.cells[2 * kCellsOfPage]));
    me.cells[2 * kCellsOfPage] = 999;
    STRATA_TRY(tx.write(me.cells[3 * kCellsOfPage], 333));
    STRATA_ASSIGN(const Offset<std::byte> block, tx.allocate(200));
    std::memset(tx.get(block, 200), 'u', 200);
    STRATA_CHECK(write(tell, "b", 1) == 1);
    while (true)
      pause();
  });
}

}  // namespace

void make_heap(Catalog& catalog, const std::string& uri, Ending ending) {
  {
    Segment segment = catalog.create(uri, {.payload_bytes = MiB(1)}).value();
    Heap heap = Heap::create(segment).value();
    fill(heap);
  }
  if (ending == Ending::closed) return;
  // Somebody stays attached, so that a pool begins no new generation between the two.
  Segment segment = catalog.attach(uri).value();
  int ends[2];
  STRATA_CHECK(pipe(ends) == 0);
  const pid_t beginner = test::start_child([&] { return begin_and_wait(uri, ends[1]) ? 0 : 1; });
  char told = 0;
  STRATA_CHECK(read(ends[0], &told, 1) == 1);
  const int status = test::in_child([&] { return commit_and_die(uri) ? 0 : 1; });
  STRATA_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  test::kill_child(beginner);
}

}  // namespace strata::inline v0_1::golden
