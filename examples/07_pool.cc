// A segment in a pool: what a transaction changed survives the process that is killed in the next
// one, and a checkpoint brings back what was there before.
#include <signal.h>
#include <strata/strata.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>

namespace {

using strata::Result;

struct Counter {
  strata::RobustMutex lock;
  std::uint64_t hits;
};

Result<void> count_once(strata::Heap& heap, Counter& counter, bool die) {
  return heap.transact(counter.lock, [&](strata::Transaction& tx) -> Result<void> {
    STRATA_TRY(tx.write(counter.hits, tx.read(counter.hits) + 1));
    if (die) raise(SIGKILL);
    return {};
  });
}

// One run of a program that counts its runs, and is killed in the middle of the second count.
Result<void> count_and_die(const std::string& uri) {
  strata::Catalog catalog = strata::open_catalog();
  STRATA_ASSIGN(strata::Segment segment, catalog.attach(uri));
  STRATA_ASSIGN(strata::Heap heap, strata::Heap::open(segment));
  STRATA_ASSIGN(Counter* const counter, heap.find<Counter>("counter"));
  STRATA_TRY(count_once(heap, *counter, false));
  return count_once(heap, *counter, true);
}

Result<std::uint64_t> hits_in(strata::Segment& segment) {
  STRATA_ASSIGN(strata::Heap heap, strata::Heap::open(segment));
  STRATA_ASSIGN(Counter* const counter, heap.find<Counter>("counter"));
  std::uint64_t hits = 0;
  STRATA_TRY(heap.transact(counter->lock, [&](strata::Transaction& tx) -> Result<void> {
    hits = tx.read(counter->hits);
    return {};
  }));
  return hits;
}

Result<void> run(const std::string& path) {
  strata::Catalog catalog = strata::open_catalog();
  STRATA_ASSIGN(const strata::Pool pool, strata::Pool::create(path, {.bytes = strata::MiB(64)}));
  const std::string uri = "pmem:" + path + "#counters";
  {
    STRATA_ASSIGN(strata::Segment segment, catalog.create(uri, {.payload_bytes = strata::MiB(4)}));
    STRATA_ASSIGN(strata::Heap heap, strata::Heap::create(segment));
    STRATA_TRY(heap.make<Counter>("counter"));
  }
  for (int start = 0; start < 2; ++start) {
    const pid_t child = fork();
    if (child == 0) _exit(count_and_die(uri) ? 0 : 1);
    int status = 0;
    waitpid(child, &status, 0);
  }
  STRATA_ASSIGN(strata::Segment segment, catalog.attach(uri));
  STRATA_ASSIGN(const std::uint64_t hits, hits_in(segment));
  std::printf("two starts, each killed in its second count: %lu hits\n", hits);
  if (hits != 2) return strata::fail(strata::Code::internal, "a count was lost, or half made");

  STRATA_ASSIGN(const auto saved, strata::checkpoint(segment, pool, "saved"));
  STRATA_ASSIGN(strata::Segment memory, catalog.create("shm:example-" + std::to_string(getpid()),
                                                       {.payload_bytes = segment.payload_bytes(),
                                                        .lifetime = strata::Lifetime::process}));
  STRATA_ASSIGN(const auto restored, strata::load_version(pool, "saved", saved.version, memory));
  STRATA_ASSIGN(const std::uint64_t same, hits_in(memory));
  std::printf("restored into shared memory, %lu blocks verified: %lu hits\n",
              restored.blocks_verified, same);
  return {};
}

}  // namespace

int main() {
  std::string directory = "/tmp/strata-example-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) return 1;
  const auto result = run(directory + "/run.pool");
  std::filesystem::remove_all(directory);
  if (!result) std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
  return result ? 0 : 1;
}
