// Objects in a segment, found by name, and changed by transactions: a process that is killed in
// the middle of one leaves the state before it, and the next one goes on.
#include <signal.h>
#include <strata/strata.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

namespace {

struct Accounts {
  strata::RobustMutex lock;
  std::uint64_t alice;
  std::uint64_t bob;
};

strata::Result<void> pay_and_die(const std::string& uri) {
  strata::Catalog catalog = strata::open_catalog();
  STRATA_ASSIGN(strata::Segment segment, catalog.attach(uri));
  STRATA_ASSIGN(strata::Heap heap, strata::Heap::open(segment));
  STRATA_ASSIGN(Accounts* const accounts, heap.find<Accounts>("accounts"));
  return heap.transact(accounts->lock, [&](strata::Transaction& tx) -> strata::Result<void> {
    STRATA_TRY(tx.write(accounts->alice, tx.read(accounts->alice) - 10));
    raise(SIGKILL);
    return tx.write(accounts->bob, tx.read(accounts->bob) + 10);
  });
}

strata::Result<void> run() {
  strata::Catalog catalog = strata::open_catalog();
  const std::string uri = "shm:example-" + std::to_string(getpid());
  STRATA_ASSIGN(strata::Segment segment,
                catalog.create(
                    uri, {.payload_bytes = strata::MiB(4), .lifetime = strata::Lifetime::process}));
  STRATA_ASSIGN(strata::Heap heap, strata::Heap::create(segment));
  STRATA_ASSIGN(Accounts* const accounts, heap.make<Accounts>("accounts"));
  accounts->alice = 100;

  const pid_t child = fork();
  if (child == 0) _exit(pay_and_die(uri) ? 0 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  std::printf("the child died by signal %d; alice %lu, bob %lu\n", WTERMSIG(status),
              accounts->alice, accounts->bob);

  STRATA_TRY(heap.transact(accounts->lock, [&](strata::Transaction& tx) -> strata::Result<void> {
    STRATA_TRY(tx.write(accounts->alice, tx.read(accounts->alice) - 10));
    return tx.write(accounts->bob, tx.read(accounts->bob) + 10);
  }));
  std::printf("paid: alice %lu, bob %lu\n", accounts->alice, accounts->bob);
  if (accounts->alice != 90 || accounts->bob != 10)
    return strata::fail(strata::Code::internal, "money was made or lost");
  return {};
}

}  // namespace

int main() {
  const auto result = run();
  if (!result) std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
  return result ? 0 : 1;
}
