// Four processes use one heap; every 50 ms one of them is killed, wherever it is. In the end what
// is there is compared with what the processes said they had done.
//   STRATA_SOAK_MS (20000) is how long it runs, STRATA_SOAK_SEED which choices it makes.
#include <sys/prctl.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>

#include "heap/heap_testing.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::test;

namespace {

constexpr unsigned kWorkers = 4;
constexpr unsigned kHoldings = 64;  // of each worker
constexpr unsigned kBoard = 256;
constexpr unsigned kBoardStamp = 99;  // in place of a worker

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// In the heap: what the workers hold. A word per holding, published by allocate_to and withdrawn
// by free_from, so that at every instruction it says what is allocated.
struct Ledger {
  Offset<std::byte> holdings[kWorkers][kHoldings];
  std::atomic<std::uint64_t> operations[kWorkers];
  // Blocks of nobody in particular, from plain allocate: whoever takes one out frees it.
  std::atomic<std::uint64_t> board[kBoard];
};

std::uint64_t size_for(std::mt19937_64& random) {
  switch (random() % 20) {
    case 0: return 1 + random() % 700'000;
    case 1:
    case 2: return 1 + random() % 60'000;
    default: return 1 + random() % 600;
  }
}

// A worker that cannot go on says why; its exit status fails the test.
template <typename T>
T must(Result<T> result, const char* what) {
  if (!result) {
    std::fprintf(stderr, "%s: %s\n", what, result.error().to_string().c_str());
    _exit(8);
  }
  return *std::move(result);
}

// A block begins with its own offset and its worker, and ends with its offset.
void stamp(Heap& heap, Offset<std::byte> block, unsigned worker) {
  const std::uint64_t bytes = must(heap.usable_bytes(block), "usable_bytes") / 8 * 8;
  auto* const words = reinterpret_cast<std::uint64_t*>(heap.get(block, bytes));
  words[bytes / 8 - 1] = block.bytes;
  words[0] = block.bytes ^ std::uint64_t{worker} << 56;
}

bool has_stamp(Heap& heap, Offset<std::byte> block, unsigned worker) {
  const auto bytes = heap.usable_bytes(block);
  if (!bytes) return false;
  const auto* const words = reinterpret_cast<std::uint64_t*>(heap.get(block, *bytes));
  return words[0] == (block.bytes ^ std::uint64_t{worker} << 56) &&
         words[*bytes / 8 - 1] == block.bytes;
}

// Puts a block on the board and frees the one that was there, most often another worker's. Killed
// in between, a worker leaves at most a block that nobody knows.
void exchange(Heap& heap, Ledger& ledger, unsigned worker, std::mt19937_64& random) {
  const auto made = heap.allocate(16 + random() % 100);
  if (!made) return;
  stamp(heap, *made, kBoardStamp);
  const std::uint64_t old = ledger.board[random() % kBoard].exchange(made->bytes);
  if (old == 0) return;
  if (!has_stamp(heap, Offset<std::byte>{old}, kBoardStamp)) {
    std::fprintf(stderr, "worker %u: block %#llx of the board was overwritten\n", worker,
                 static_cast<unsigned long long>(old));
    _exit(7);
  }
  if (const auto freed = heap.free(Offset<std::byte>{old}); !freed) {
    std::fprintf(stderr, "worker %u: %s\n", worker, freed.error().to_string().c_str());
    _exit(9);
  }
}

[[noreturn]] void work(HeapHost& host, unsigned worker, std::uint64_t seed) {
  Segment segment = must(host.try_attach(), "attach");
  Heap heap = must(Heap::open(segment), "open");
  Ledger& ledger = *must(heap.find<Ledger>("ledger"), "find");
  std::mt19937_64 random(seed);
  // What the one before left may have been killed before its stamp: it is whole all the same.
  for (Offset<std::byte>& holding : ledger.holdings[worker]) {
    if (holding) stamp(heap, holding, worker);
  }
  for (std::uint64_t round = 0;; ++round) {
    Offset<std::byte>& holding = ledger.holdings[worker][random() % kHoldings];
    if (holding) {
      if (!has_stamp(heap, holding, worker)) {
        std::fprintf(stderr, "worker %u: block %#llx was overwritten\n", worker,
                     static_cast<unsigned long long>(holding.bytes));
        _exit(2);
      }
      if (const auto freed = heap.free_from(holding); !freed) {
        std::fprintf(stderr, "worker %u: %s\n", worker, freed.error().to_string().c_str());
        _exit(3);
      }
    } else {
      const auto made = heap.allocate_to(holding, size_for(random), 16);
      if (made) {
        stamp(heap, holding, worker);
      } else if (made.error().code() != Code::exhausted) {
        std::fprintf(stderr, "worker %u: %s\n", worker, made.error().to_string().c_str());
        _exit(4);
      }
    }
    for (int i = 0; i < 8; ++i)
      exchange(heap, ledger, worker, random);
    if (round % 16 == 0) {
      const std::string name = "w" + std::to_string(worker) + "." + std::to_string(random() % 40);
      if (heap.find<std::uint64_t>(name)) {
        if (!heap.destroy<std::uint64_t>(name)) _exit(5);
      } else if (const auto object = heap.make<std::uint64_t>(name, round);
                 !object && object.error().code() != Code::exhausted) {
        std::fprintf(stderr, "worker %u: %s\n", worker, object.error().to_string().c_str());
        _exit(6);
      }
    }
    ledger.operations[worker].fetch_add(1);
  }
}

}  // namespace

TEST_CASE("a_process_killed_every_50_ms_leaves_the_heap_whole") {
  const std::uint64_t soak_ms = from_environment("STRATA_SOAK_MS", 20'000);
  const std::uint64_t seed = from_environment("STRATA_SOAK_SEED", std::random_device{}());
  std::printf("STRATA_SOAK_SEED=%llu STRATA_SOAK_MS=%llu\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(soak_ms));
  std::fflush(stdout);
  std::mt19937_64 random(seed);
  HeapHost host(MiB(8), MiB(48));
  Heap heap = Heap::create(host.segment(), {.region_bytes = MiB(8), .nodes = {}}).value();
  Ledger& ledger = *heap.make<Ledger>("ledger").value();
  std::memset(static_cast<void*>(&ledger), 0, sizeof(Ledger));
  const auto start = [&](unsigned worker) {
    const std::uint64_t its_seed = random();
    return start_child([&, worker, its_seed] {
      alarm(0);
      prctl(PR_SET_PDEATHSIG, SIGKILL);  // whatever becomes of the test
      work(host, worker, its_seed);
    });
  };
  pid_t workers[kWorkers];
  for (unsigned i = 0; i < kWorkers; ++i)
    workers[i] = start(i);
  std::uint64_t kills = 0;
  const Deadline deadline = Deadline::after_ms(soak_ms);
  while (!deadline.expired()) {
    usleep(static_cast<useconds_t>(random() % 100'000));
    const unsigned victim = static_cast<unsigned>(random() % kWorkers);
    kill(workers[victim], SIGKILL);
    const int status = wait_for(workers[victim]);
    INFO("worker " << victim << " after " << kills << " kills, status " << status);
    // A worker that found something wrong has said so, and ended by itself.
    REQUIRE(was_killed(status));
    ++kills;
    workers[victim] = start(victim);
  }
  std::uint64_t operations = 0;
  for (unsigned i = 0; i < kWorkers; ++i) {
    kill(workers[i], SIGKILL);
    const int status = wait_for(workers[i]);
    CHECK(was_killed(status));
    operations += ledger.operations[i].load();
  }
  REQUIRE(heap.recover());
  (void)heap.remove("no such name");
  heap.release_thread_cache();
  const HeapReport report = heap.check().value();
  INFO(report.to_string());
  CHECK(report.is_clean());
  // What is allocated: the holdings, a block for each name, and the table of names.
  std::set<std::uint64_t> held;
  for (auto& of_worker : ledger.holdings) {
    for (const Offset<std::byte> holding : of_worker) {
      if (!holding) continue;
      CHECK(held.insert(holding.bytes).second);
      CHECK(heap.usable_bytes(holding));
    }
  }
  for (auto& word : ledger.board) {
    if (word.load() != 0) CHECK(held.insert(word.load()).second);
  }
  const std::uint64_t unknown =
      report.allocated_blocks - (held.size() + heap.objects().value().size() + 1);
  CHECK(unknown <= 2 * (kills + kWorkers));
  for (auto& of_worker : ledger.holdings) {
    for (Offset<std::byte>& holding : of_worker) {
      if (holding) REQUIRE(heap.free_from(holding));
    }
  }
  for (auto& word : ledger.board) {
    if (word.load() != 0) REQUIRE(heap.free(Offset<std::byte>{word.load()}));
  }
  std::printf(
      "soak: %llu kills, %llu operations, %llu blocks at the end, %llu of them known to "
      "nobody\n",
      static_cast<unsigned long long>(kills), static_cast<unsigned long long>(operations),
      static_cast<unsigned long long>(report.allocated_blocks),
      static_cast<unsigned long long>(unknown));
  std::printf("verified: %llu random kills\n", static_cast<unsigned long long>(kills));
}
