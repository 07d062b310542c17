// Durable commits beside the stores that people use for them: each commit adds one to the number
// of a random key among 10,000 and is on the disk when it returns. In $STRATA_BENCH_FOLDER
// (default: the working directory), which should be on a disk.
//
//   one thread:    what a commit costs.
//   four threads:  what they share of a sync. Ours have a map and a lock each, in one segment, as a
//                  program would that wants them to commit side by side; the stores have one writer
//                  at a time, whatever the program wants.
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "bench/paired.h"
#include "bench/stores.h"
#include "os/os.h"
#include "strata/base/bytes.h"
#include "strata/heap/heap.h"
#include "strata/pmem/pool.h"
#include "strata/strata.h"
#include "strata/transaction/transaction_map.h"
#include "tests/temp_dir.h"

using namespace strata;

namespace {

constexpr unsigned kThreads = 4;
constexpr std::uint64_t kKeys = 10'000;
constexpr std::uint64_t kCommits = 100;  // of each thread in each round

template <typename T>
T must(Result<T> result) {
  if (!result) {
    fmt::print(stderr, "commit_bench: {}\n", result.error().to_string());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

class StrataStore final : public Store {
 public:
  explicit StrataStore(const std::string& folder) : catalog_(make_catalog(os_)) {
    const std::string path = folder + "/store.pool";
    must(Pool::create(os_, path, {.bytes = MiB(64)}));
    segment_ = std::make_unique<Segment>(
        must(catalog_.create("pmem:" + path + "#numbers", {.payload_bytes = MiB(32)})));
    heap_.emplace(must(Heap::create(*segment_)));
    for (unsigned i = 0; i < kThreads; ++i)
      tables_[i] = must(heap_->make<Table>(fmt::format("table {}", i)));
  }
  std::unique_ptr<StoreSession> session() override {
    return std::make_unique<Session>(*heap_, *tables_[next_++ % kThreads]);
  }

 private:
  struct Table {
    RobustMutex lock;
    TransactionMap numbers;
  };
  class Session final : public StoreSession {
   public:
    Session(Heap& heap, Table& table) : heap_(heap), table_(table) {}
    void add_one(std::string_view key) override {
      must(heap_.transact(table_.lock, [&](Transaction& tx) -> Result<void> {
        STRATA_TRY(table_.numbers.add(tx, key, 1));
        return {};
      }));
    }
    std::uint64_t number(std::string_view key) override {
      std::optional<std::uint64_t> found;
      must(heap_.transact(table_.lock, [&](Transaction& tx) -> Result<void> {
        STRATA_ASSIGN(found, table_.numbers.find(tx, key));
        return {};
      }));
      return found.value_or(0);
    }

   private:
    Heap& heap_;
    Table& table_;
  };

  RealOs os_;
  Catalog catalog_;
  std::unique_ptr<Segment> segment_;
  std::optional<Heap> heap_;
  std::array<Table*, kThreads> tables_{};
  unsigned next_ = 0;
};

// The committers of one store.
class Committers {
 public:
  Committers(Store& store, unsigned count) : keys_(count) {
    for (unsigned i = 0; i < count; ++i) {
      sessions_.push_back(store.session());
      keys_[i] = i;
    }
  }
  // The time from the first commit of any to the last, for each commit.
  double run() {
    const double all = timed_ns([&] {
      std::vector<std::thread> threads;
      for (std::size_t i = 1; i < sessions_.size(); ++i)
        threads.emplace_back([this, i] { commit(i); });
      commit(0);
      for (std::thread& thread : threads)
        thread.join();
    });
    return all / static_cast<double>(kCommits * sessions_.size());
  }

 private:
  void commit(std::size_t who) {
    for (std::uint64_t i = 0; i < kCommits; ++i) {
      keys_[who] = keys_[who] * 6364136223846793005u + 1442695040888963407u;
      sessions_[who]->add_one(fmt::format("key {:05}", (keys_[who] >> 33) % kKeys));
    }
  }
  std::vector<std::unique_ptr<StoreSession>> sessions_;
  std::vector<std::uint64_t> keys_;
};

struct Peer {
  const char* name;
  std::unique_ptr<Store> (*open)(const std::string& folder);
};

}  // namespace

int main(int argc, char** argv) {
  PairedBench bench(argc, argv);
  const char* const given = std::getenv("STRATA_BENCH_FOLDER");
  const std::string parent = given != nullptr ? given : ".";
  for (const Peer& peer : {Peer{"LMDB", open_lmdb}, Peer{"SQLite, WAL, FULL", open_sqlite},
                           Peer{"LevelDB, sync", open_leveldb}}) {
    for (const unsigned threads : {1U, kThreads}) {
      const std::string name = fmt::format("durable commit, {} beside {}",
                                           threads == 1 ? "one thread" : "four threads", peer.name);
      if (!bench.wants(name)) continue;
      const test::TempDir ours(parent), theirs(parent);
      const std::unique_ptr<Store> store = peer.open(theirs.path());
      if (store == nullptr) {
        bench.note(fmt::format("{}: not installed, left out", peer.name));
        continue;
      }
      StrataStore strata_store(ours.path());
      Committers us(strata_store, threads), them(*store, threads);
      bench.compare(
          {.name = name, .peer = peer.name, .goal = at_most(1.0)}, [&] { return us.run(); },
          [&] { return them.run(); });
    }
  }
  return bench.finish();
}
