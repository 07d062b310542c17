// Pools beside what one would use without them: libpmemobj's open, memcpy, msync.
#include <fcntl.h>
#include <fmt/format.h>
#include <libpmemobj.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/stream_copy.h"
#include "bench/paired.h"
#include "pmem/pmem_backend.h"
#include "strata/heap/heap.h"
#include "strata/pmem/checkpoint.h"
#include "strata/pmem/pool.h"
#include "tests/temp_dir.h"

namespace {

using namespace strata;

constexpr std::uint64_t kCheckpointBytes = MiB(256);

template <typename T>
void must(const Result<T>& result) {
  if (result) return;
  fmt::print(stderr, "pool_bench: {}\n", result.error().to_string());
  std::exit(1);
}

struct Setup {
  explicit Setup(const std::string& parent) : directory(parent) {}
  RealOs os;
  const test::TempDir directory;
};

void bench_attach(PairedBench& bench, Setup& setup, std::uint64_t pool_bytes,
                  const std::string& name) {
  if (!bench.wants(name)) return;
  const std::string path = setup.directory / "attach.pool";
  const Pool pool = Pool::create(setup.os, path, {.bytes = pool_bytes}).value();
  PmemBackend backend(setup.os);
  const SegmentUri uri{"pmem", path, "mesh"};
  { backend.create(uri, {.payload_bytes = MiB(1)}).value(); }
  bench.compare(
      {.name = name, .peer = "pmemobj_open", .goal = at_most_us(50)},
      [&] {
        return timed_ns_each(16, [&] {
          const auto segment = backend.attach(uri, {.access = Access::read_only});
          keep(segment->host_bytes().value()[0]);
        });
      },
      [&] { return timed_ns([&] { pmemobj_close(pmemobj_open(path.c_str(), "strata")); }); });
  std::filesystem::remove(path);
}

using Copy = void (*)(void* to, const void* from, std::size_t bytes);

double copy_by_threads(Copy copy, std::span<std::byte> to, std::span<const std::byte> from,
                       unsigned threads) {
  return timed_ns([&] {
    const std::size_t part = to.size() / threads;
    std::vector<std::thread> others;
    for (unsigned i = 1; i < threads; ++i)
      others.emplace_back(copy, to.data() + i * part, from.data() + i * part, part);
    copy(to.data(), from.data(), part);
    for (std::thread& other : others)
      other.join();
  });
}

void plain_copy(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }

// Beside the copy of as many bytes from one warm place to another by as many threads, in both ways.
void bench_restore(PairedBench& bench, Setup& setup, const std::string& where) {
  const Pool pool =
      Pool::create(setup.os, setup.directory / "copy.pool", {.bytes = 2 * kCheckpointBytes})
          .value();
  std::vector<std::byte> source(kCheckpointBytes, std::byte{1}), target(kCheckpointBytes);
  must(checkpoint(source, pool, "model", {.keep_versions = 0}));
  for (const unsigned threads : {1u, 2u}) {
    const auto ours = [&] {
      return timed_ns([&] { must(load_version(pool, "model", 0, target, {.threads = threads})); });
    };
    const std::string name = fmt::format("restore 256 MiB from {}, verified, {} thread{}", where,
                                         threads, threads == 1 ? "" : "s");
    bench.compare(
        {.name = name, .peer = "memcpy", .goal = at_most(1 / 0.95), .bytes = kCheckpointBytes},
        ours, [&] { return copy_by_threads(plain_copy, target, source, threads); });
    bench.compare({.name = name + ", beside the fastest copy",
                   .peer = "past the cache",
                   .goal = at_most(1 / 0.95),
                   .bytes = kCheckpointBytes},
                  ours, [&] { return copy_by_threads(stream_copy, target, source, threads); });
  }
}

void bench_persist(PairedBench& bench, Setup& setup) {
  const std::string path = setup.directory / "persist.pool";
  const Pool pool = Pool::create(setup.os, path, {.bytes = MiB(16)}).value();
  PmemBackend backend(setup.os);
  Segment segment = backend.create({"pmem", path, "x"}, {.payload_bytes = MiB(1)}).value();
  const auto bytes = segment.writable_bytes().value();
  bench.compare(
      {.name = "persist 64 B on this file system", .peer = "msync"},
      [&] {
        return timed_ns([&] {
          bytes[4096] ^= std::byte{1};
          keep(segment.persist(4096, 64).has_value());
        });
      },
      [&] {
        return timed_ns([&] {
          bytes[8192] ^= std::byte{1};
          keep(::msync(bytes.data() + 8192, 64, MS_SYNC));
        });
      });
}

// Beside as many bytes written to a file that is there, which must be on the disk afterwards, too.
void bench_checkpoint(PairedBench& bench, Setup& setup, const std::string& where) {
  const Pool pool =
      Pool::create(setup.os, setup.directory / "full.pool", {.bytes = 3 * kCheckpointBytes})
          .value();
  std::vector<std::byte> source(kCheckpointBytes, std::byte{1});
  const Fd raw = setup.os.open(setup.directory / "raw", O_RDWR | O_CREAT, 0600).value();
  keep(setup.os.pwrite(raw.get(), source, 0).has_value());
  ::fsync(raw.get());
  const auto all_written = [&] {
    source[0] ^= std::byte{1};
    return timed_ns([&] { must(checkpoint(source, pool, "all", {.keep_versions = 0})); });
  };
  bench.compare({.name = fmt::format("checkpoint 256 MiB to {}, all written", where),
                 .peer = "pwrite + fdatasync",
                 .goal = at_most(1 / 0.95),
                 .bytes = kCheckpointBytes},
                all_written, [&] {
                  return timed_ns([&] {
                    keep(setup.os.pwrite(raw.get(), source, 0).has_value());
                    ::fdatasync(raw.get());
                  });
                });
  const Pool second =
      Pool::create(setup.os, setup.directory / "part.pool", {.bytes = 4 * kCheckpointBytes})
          .value();
  bench.compare(
      {.name = fmt::format("checkpoint 256 MiB to {}, nothing changed", where),
       .ours = "incremental",
       .peer = "all written",
       .bytes = kCheckpointBytes},
      [&] {
        return timed_ns([&] { must(checkpoint(source, second, "part", {.keep_versions = 1})); });
      },
      all_written);
}

struct Ledger {
  RobustMutex lock;
  std::array<std::byte, MiB(1)> entries;
};

// One commit is one sync, beside the least that makes as many bytes durable on the same disk.
void bench_commit(PairedBench& bench, Setup& setup) {
  const std::string path = setup.directory / "commit.pool";
  const Pool pool = Pool::create(setup.os, path, {.bytes = MiB(32)}).value();
  PmemBackend backend(setup.os);
  Segment segment = backend.create({"pmem", path, "x"}, {.payload_bytes = MiB(16)}).value();
  Heap heap = Heap::create(segment).value();
  Ledger* const ledger = heap.make<Ledger>("ledger").value();
  keep(heap.transactions().has_value());
  const std::vector<std::byte> zeros(MiB(8));
  const Fd raw = setup.os.open(setup.directory / "raw", O_RDWR | O_CREAT, 0600).value();
  keep(setup.os.pwrite(raw.get(), zeros, 0).has_value());
  ::fsync(raw.get());
  std::uint64_t at = 0, entry = 0;
  bench.compare(
      {.name = "transaction of 64 B in a pool on this file system",
       .peer = "pwrite + fdatasync",
       .goal = at_most(1.3)},
      [&] {
        return timed_ns_each(20, [&] {
          entry = (entry + 6151 * 64) % MiB(1);
          keep(heap.transact(ledger->lock,
                             [&](Transaction& tx) {
                               return tx.write_bytes(&ledger->entries[entry], zeros.data(), 64);
                             })
                   .has_value());
        });
      },
      [&] {
        return timed_ns_each(20, [&] {
          keep(setup.os.pwrite(raw.get(), std::span(zeros).first(144), at).has_value());
          ::fdatasync(raw.get());
          at = (at + 144) % MiB(4);
        });
      });
}

}  // namespace

int main(int argc, char** argv) {
  PairedBench bench(argc, argv);
  {
    Setup disk("/var/tmp");
    bench_attach(bench, disk, MiB(64), "attach in a pool of 64 MiB");
    bench_attach(bench, disk, GiB(2), "attach in a pool of 2 GiB");
    bench_persist(bench, disk);
    bench_commit(bench, disk);
    bench_restore(bench, disk, "a disk's pages");
    bench_checkpoint(bench, disk, "a disk");
  }
  Setup memory("/dev/shm");
  bench_restore(bench, memory, "tmpfs");
  bench_checkpoint(bench, memory, "tmpfs");
  return bench.finish();
}
