// Makes a segment with a heap for the tests of the command line: make_heap URI
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "os/os.h"
#include "strata/heap/heap.h"
#include "strata/strata.h"

namespace {

struct Table {
  std::uint64_t rows;
  strata::Offset<std::byte> cells;
};

strata::Result<void> make(const std::string& uri) {
  strata::RealOs os;
  strata::Catalog catalog = strata::make_catalog(os);
  STRATA_ASSIGN(strata::Segment segment, catalog.create(uri, {.payload_bytes = strata::MiB(4)}));
  STRATA_ASSIGN(strata::Heap heap, strata::Heap::create(segment));
  STRATA_ASSIGN(strata::RobustMutex* const lock, heap.make<strata::RobustMutex>("table.lock"));
  lock->count_contention();
  STRATA_ASSIGN(Table* const table, heap.make<Table>("table"));
  table->rows = 100;
  return heap.allocate_to(table->cells, table->rows * 64);
}

// Takes the lock and dies with it.
strata::Result<void> die_holding(const std::string& uri) {
  strata::RealOs os;
  strata::Catalog catalog = strata::make_catalog(os);
  STRATA_ASSIGN(strata::Segment segment, catalog.attach(uri));
  STRATA_ASSIGN(strata::Heap heap, strata::Heap::open(segment));
  STRATA_ASSIGN(strata::RobustMutex* const lock, heap.find<strata::RobustMutex>("table.lock"));
  return heap.transact(*lock, [](strata::Transaction&) -> strata::Result<void> {
    raise(SIGKILL);
    return {};
  });
}

// The same with the segment's own lock.
strata::Result<void> die_holding_its_own(const std::string& uri) {
  strata::RealOs os;
  strata::Catalog catalog = strata::make_catalog(os);
  STRATA_ASSIGN(strata::Segment segment, catalog.attach(uri));
  STRATA_ASSIGN(const strata::SyncContext context, segment.sync_context());
  STRATA_ASSIGN(strata::RobustMutex* const lock, segment.mutex());
  STRATA_TRY(lock->try_lock(context));
  raise(SIGKILL);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const auto is = [&](const char* what) { return argc == 3 && std::strcmp(argv[2], what) == 0; };
  const auto result = is("--die-holding")           ? die_holding(argv[1])
                      : is("--die-holding-its-own") ? die_holding_its_own(argv[1])
                                                    : make(argv[1]);
  if (!result) std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
  return result ? 0 : 1;
}
