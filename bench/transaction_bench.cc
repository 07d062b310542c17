// Transactions beside hand-written floors and beside libpmemobj, in one run.
//
//   no flush:  tmpfs without flushes; what a kill can cost. The floor is an undo log of one range
//              by hand: no slots, no abort, no second process.
//   flush:     the same memory taken for persistent memory: flushed by cache lines, libpmemobj
//   under
//              PMEM_IS_PMEM_FORCE=1. A cost model of persistent memory, not a measurement of it.
//   sync:      a file in $STRATA_BENCH_FOLDER (default: the working directory), msync, beside
//              pwrite and fdatasync of as many bytes.
// Ours includes a robust lock where the row says so; rows without say "no lock", as the floors.
#include <fcntl.h>
#include <fmt/format.h>
#include <libpmemobj.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "bench/paired.h"
#include "heap/heap_core.h"
#include "pmem/domain.h"
#include "strata/base/bytes.h"
#include "strata/heap/heap.h"
#include "sync/sync_testing.h"

using namespace strata;

namespace {

constexpr std::uint64_t kHeapBytes = MiB(32);
constexpr std::uint64_t kDataBytes = MiB(4);

[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "transaction_bench: {}\n", why);
  std::exit(1);
}
template <typename T>
T must(Result<T> result) {
  if (!result) give_up(result.error().to_string());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

#if defined(__x86_64__)
__attribute__((target("clwb"))) void write_back(const void* address, std::size_t bytes) {
  const auto first = reinterpret_cast<std::uintptr_t>(address) & ~std::uintptr_t{63};
  for (auto line = first; line < reinterpret_cast<std::uintptr_t>(address) + bytes; line += 64)
    _mm_clwb(reinterpret_cast<void*>(line));
}
void fence() { _mm_sfence(); }
bool can_flush() { return __builtin_cpu_supports("clwb"); }
#else
void write_back(const void*, std::size_t) {}
void fence() {}
bool can_flush() { return false; }
#endif

// One msync over all that was flushed: of a range it writes only what is dirty.
class PageDurability final : public Durability {
 public:
  bool is_volatile() const override { return false; }
  std::size_t granularity_bytes() const override { return kPageBytes; }
  void flush(const void* address, std::size_t bytes) override {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    first_ = std::min(first_, at / kPageBytes * kPageBytes);
    end_ = std::max(end_, align_up(at + bytes, kPageBytes));
  }
  Result<void> drain() override {
    if (end_ == 0) return {};
    if (msync(reinterpret_cast<void*>(first_), end_ - first_, MS_SYNC) != 0) give_up("msync");
    first_ = ~std::uintptr_t{0};
    end_ = 0;
    return {};
  }

 private:
  std::uintptr_t first_ = ~std::uintptr_t{0};
  std::uintptr_t end_ = 0;
};

class BenchMemory final : public HeapMemory {
 public:
  BenchMemory(test::LockFile& locks, int fd, Durability& durability)
      : owner_(locks, 1), os_(locks.os()), durability_(durability) {
    void* at = mmap(nullptr, kHeapBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) give_up("mmap");
    base_ = static_cast<std::byte*>(at);
  }
  ~BenchMemory() override { munmap(base_, kHeapBytes); }
  std::byte* base() const override { return base_; }
  std::uint64_t bytes() const override { return kHeapBytes; }
  std::uint64_t max_bytes() const override { return kHeapBytes; }
  const Owner* owner() const override { return &owner_; }
  std::uint64_t generation() const override { return 1; }
  Durability& durability() const override { return durability_; }
  Os& os() const override { return os_; }
  Result<std::uint64_t> refresh() override { return kHeapBytes; }
  Result<void> grow(std::uint64_t, Deadline) override {
    return fail(Code::exhausted, "fixed size");
  }

 private:
  test::FileOwner owner_;
  Os& os_;
  Durability& durability_;
  std::byte* base_;
};

struct Root {
  RobustMutex lock;
  std::array<std::uint8_t, 64> reserved;
};

// A heap with an area of data in it.
struct Ours {
  Ours(int fd, Durability& durability)
      : heap(must(Heap::create(std::make_unique<BenchMemory>(locks, fd, durability)))) {
    root = must(heap.make<Root>("root"));
    log = must(heap.transactions());
    data = heap.get(must(heap.allocate(kDataBytes, 4096)), kDataBytes);
    std::memset(data, 1, kDataBytes);
  }
  test::LockFile locks;
  Heap heap;
  Root* root;
  TransactionLog* log;
  std::byte* data;
};

struct Work {
  std::uint64_t ranges;
  std::uint64_t bytes;
};

// The same places for every side.
class Places {
 public:
  explicit Places(std::uint64_t bytes) : bytes_(bytes) {}
  std::uint64_t next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % (kDataBytes / bytes_) * bytes_;
  }

 private:
  std::uint64_t bytes_;
  std::uint64_t state_ = 1;
};

alignas(64) std::array<std::byte, 4096> new_bytes;

template <typename Locks>
void run_ours(Ours& ours, const Work& work, Places& places, const Locks& locks) {
  const auto done = transact(*ours.log, locks, [&](Transaction& tx) -> Result<void> {
    for (std::uint64_t i = 0; i < work.ranges; ++i)
      STRATA_TRY(tx.write_bytes(ours.data + places.next(), new_bytes.data(), work.bytes));
    return {};
  });
  if (!done) give_up(done.error().to_string());
}

// Undo by hand, batched: log all old bytes, fence, change, fence, forget, fence.
class Floor {
 public:
  Floor() {
    const int fd = memfd_create("floor", 0);
    if (ftruncate(fd, static_cast<off_t>(kDataBytes + MiB(1))) != 0) give_up("ftruncate");
    void* at = mmap(nullptr, kDataBytes + MiB(1), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    if (at == MAP_FAILED) give_up("mmap");
    data_ = static_cast<std::byte*>(at);
    log_ = data_ + kDataBytes;
    std::memset(data_, 1, kDataBytes + MiB(1));
  }
  ~Floor() { munmap(data_, kDataBytes + MiB(1)); }

  template <bool kFlush>
  void run(const Work& work, Places& places) {
    std::array<std::uint64_t, 8> offsets;
    std::byte* to = log_ + 64;
    for (std::uint64_t i = 0; i < work.ranges; ++i) {
      offsets[i] = places.next();
      std::memcpy(to, &offsets[i], 8);
      std::memcpy(to + 8, &work.bytes, 8);
      std::memcpy(to + 16, data_ + offsets[i], work.bytes);
      to += 16 + work.bytes;
    }
    head().store(work.ranges, std::memory_order_release);
    if (kFlush) write_back(log_, static_cast<std::size_t>(to - log_)), fence();
    for (std::uint64_t i = 0; i < work.ranges; ++i) {
      std::memcpy(data_ + offsets[i], new_bytes.data(), work.bytes);
      if (kFlush) write_back(data_ + offsets[i], work.bytes);
    }
    if (kFlush) fence();
    head().store(0, std::memory_order_release);
    if (kFlush) write_back(log_, 8), fence();
  }

 private:
  std::atomic<std::uint64_t>& head() {
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(log_);
  }
  std::byte* data_;
  std::byte* log_;
};

class Pmemobj {
 public:
  explicit Pmemobj(const std::string& path) : path_(path) {
    unlink(path.c_str());
    pool_ = pmemobj_create(path.c_str(), "bench", MiB(64), 0600);
    if (pool_ == nullptr) give_up(pmemobj_errormsg());
    root_ = pmemobj_root(pool_, kDataBytes);
    data_ = static_cast<std::byte*>(pmemobj_direct(root_));
    std::memset(data_, 1, kDataBytes);
  }
  ~Pmemobj() {
    pmemobj_close(pool_);
    unlink(path_.c_str());
  }
  void run(const Work& work, Places& places) {
    begin();
    for (std::uint64_t i = 0; i < work.ranges; ++i) {
      std::byte* const at = data_ + places.next();
      if (pmemobj_tx_add_range_direct(at, work.bytes) != 0) give_up("tx_add_range");
      std::memcpy(at, new_bytes.data(), work.bytes);
    }
    end();
  }
  void allocate_and_free(std::uint64_t bytes) {
    begin();
    const PMEMoid block = pmemobj_tx_alloc(bytes, 1);
    if (OID_IS_NULL(block)) give_up("tx_alloc");
    end();
    begin();
    if (pmemobj_tx_free(block) != 0) give_up("tx_free");
    end();
  }

 private:
  void begin() {
    if (pmemobj_tx_begin(pool_, nullptr, TX_PARAM_NONE) != 0) give_up("tx_begin");
  }
  static void end() {
    pmemobj_tx_commit();
    if (pmemobj_tx_end() != 0) give_up("tx_end");
  }
  std::string path_;
  PMEMobjpool* pool_;
  PMEMoid root_;
  std::byte* data_;
};

void allocate_and_free_ours(Ours& ours, std::uint64_t bytes) {
  Offset<std::byte> block;
  must(transact(*ours.log, ours.root->lock, [&](Transaction& tx) -> Result<void> {
    STRATA_ASSIGN(block, tx.allocate(bytes));
    return {};
  }));
  must(transact(*ours.log, ours.root->lock, [&](Transaction& tx) { return tx.free(block); }));
}

int new_memfd() {
  const int fd = memfd_create("transaction_bench", 0);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(kHeapBytes)) != 0) give_up("memfd");
  return fd;
}

struct NamedWork {
  const char* name;
  Work work;
  std::uint64_t calls;
  double times_pmemobj;  // goal
};
constexpr NamedWork kWorks[] = {{"1 x 8 B", {1, 8}, 4000, 2.5},
                                {"1 x 64 B", {1, 64}, 4000, 2.5},
                                {"8 x 64 B", {8, 64}, 1000, 4},
                                {"1 x 4 KiB", {1, 4096}, 1000, 2}};

void compare_all(PairedBench& bench, Ours& ours, bool flushes) {
  Floor floor;
  Pmemobj pmemobj(fmt::format("/dev/shm/strata-transaction-bench-{}", getpid()));
  const std::span<RobustMutex* const> none;
  RobustMutex* const one[] = {&ours.root->lock};
  for (const NamedWork& named : kWorks) {
    const std::string prefix = flushes ? "flush" : "no flush";
    Places a(named.work.bytes), b(named.work.bytes);
    const bool is_one = named.work.bytes == 64 && named.work.ranges == 1;
    bench.compare(
        {.name = fmt::format("{}, {}, no lock, beside its floor", prefix, named.name),
         .peer = "undo by hand",
         .goal = !is_one ? no_goal() : at_most(flushes ? 1.3 : 2.0)},
        [&] { return timed_ns_each(named.calls, [&] { run_ours(ours, named.work, a, none); }); },
        [&] {
          return timed_ns_each(named.calls, [&] {
            flushes ? floor.run<true>(named.work, b) : floor.run<false>(named.work, b);
          });
        });
    bench.compare(
        {.name = fmt::format("{}, {}, with lock, beside its floor with the same lock", prefix,
                             named.name),
         .peer = "undo by hand",
         .goal = !is_one ? no_goal() : at_most(flushes ? 1.3 : 2.0)},
        [&] {
          return timed_ns_each(named.calls, [&] {
            run_ours(ours, named.work, a, std::span<RobustMutex* const>(one));
          });
        },
        [&] {
          const SyncContext& context = *ours.heap.core().sync();
          return timed_ns_each(named.calls, [&] {
            must(ours.root->lock.lock_for_ms(context, 1000));
            flushes ? floor.run<true>(named.work, b) : floor.run<false>(named.work, b);
            must(ours.root->lock.unlock(context));
          });
        });
    bench.compare(
        {.name = fmt::format("{}, {}, with lock, beside libpmemobj", prefix, named.name),
         .peer = "libpmemobj",
         .goal = faster_by(flushes ? named.times_pmemobj : 8)},
        [&] {
          return timed_ns_each(named.calls, [&] {
            run_ours(ours, named.work, a, std::span<RobustMutex* const>(one));
          });
        },
        [&] { return timed_ns_each(named.calls, [&] { pmemobj.run(named.work, b); }); });
  }
  bench.compare(
      {.name = fmt::format("{}, allocate 64 B, free it, two transactions",
                           flushes ? "flush" : "no flush"),
       .peer = "libpmemobj"},
      [&] { return timed_ns_each(500, [&] { allocate_and_free_ours(ours, 64); }); },
      [&] { return timed_ns_each(500, [&] { pmemobj.allocate_and_free(64); }); });
}

// A file whose blocks are all there, so that a sync writes data alone.
int new_file(const std::string& folder) {
  std::string path = folder + "/transaction_bench.XXXXXX";
  const int fd = mkstemp(path.data());
  if (fd < 0) give_up("mkstemp in " + folder);
  unlink(path.c_str());
  const std::vector<char> zeros(MiB(1));
  for (std::uint64_t i = 0; i < kHeapBytes / zeros.size(); ++i)
    if (::write(fd, zeros.data(), zeros.size()) < 0) give_up("write");
  if (fsync(fd) != 0) give_up("fsync");
  // Writes this large are cached in folios as large, and a store through a mapping makes the whole
  // folio dirty: each sync would write it all. Read back by page faults, it is cached by pages.
  if (posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) give_up("fadvise");
  return fd;
}

void compare_syncs(PairedBench& bench, const std::string& folder) {
  const int fd = new_file(folder), raw = new_file(folder);
  PageDurability pages;
  {
    Ours ours(fd, pages);
    RobustMutex* const one[] = {&ours.root->lock};
    for (const NamedWork& named : kWorks) {
      Places a(named.work.bytes), b(named.work.bytes);
      std::uint64_t at = 0;
      bench.compare(
          {.name = fmt::format("sync, {}, with lock", named.name),
           .peer = "pwrite + fdatasync",
           .goal = at_most(1.3)},
          [&] {
            return timed_ns_each(
                20, [&] { run_ours(ours, named.work, a, std::span<RobustMutex* const>(one)); });
          },
          [&] {
            return timed_ns_each(20, [&] {
              const std::uint64_t bytes = 64 + named.work.ranges * (16 + named.work.bytes);
              const std::vector<char> record(bytes, 'x');
              if (pwrite(raw, record.data(), bytes, static_cast<off_t>(at)) < 0 ||
                  fdatasync(raw) != 0) {
                give_up("pwrite + fdatasync");
              }
              at = (at + bytes) % MiB(16);
            });
          });
    }
  }
  ::close(fd);
  ::close(raw);
}

}  // namespace

int main(int argc, char** argv) {
  // libpmemobj and libpmem2 look when they are loaded.
  if (setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", 0) != 0) give_up("setenv");
  if (std::getenv("PMEM_IS_PMEM_FORCE") == nullptr) {
    setenv("PMEM_IS_PMEM_FORCE", "1", 1);
    execv("/proc/self/exe", argv);
    give_up("execv");
  }
  RealOs os;
  const char* const given = std::getenv("STRATA_BENCH_FOLDER");
  const std::string folder = given != nullptr ? given : ".";
  PairedBench bench(argc, argv);
  {
    const int fd = new_memfd();
    Ours ours(fd, volatile_durability());
    compare_all(bench, ours, false);
    ::close(fd);
  }
  if (can_flush()) {
    const int fd = new_memfd();
    const auto lines = must(Domain::map(os, fd, {.bytes = kHeapBytes}));
    Ours ours(fd, *lines);
    compare_all(bench, ours, true);
    ::close(fd);
  } else {
    bench.note("flush: left out, this processor has no clwb");
  }
  compare_syncs(bench, folder);
  return bench.finish();
}
