// Pools beside what one would use without them: libpmemobj's open, memcpy, msync.
#include <fcntl.h>
#include <libpmemobj.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <vector>

#include "bench/paired.h"
#include "heap/heap.h"
#include "pmem/backend.h"
#include "pmem/checkpoint.h"
#include "pmem/pool.h"

namespace {

using namespace strata;

constexpr std::uint64_t kCheckpointBytes = MiB(64);

struct Setup {
  explicit Setup(const std::string& parent) {
    std::string pattern = parent + "/strata-bench-XXXXXX";
    directory = ::mkdtemp(pattern.data());
  }
  ~Setup() {
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  }
  RealOs os;
  std::string directory;
};

void bench_attach(PairedBench& bench, Setup& setup, std::uint64_t pool_bytes,
                  const std::string& name) {
  if (!bench.wants(name)) return;
  const std::string path = setup.directory + "/attach.pool";
  const Pool pool = Pool::create(setup.os, path, {.bytes = pool_bytes}).value();
  PmemBackend backend(setup.os);
  const SegmentUri uri{"pmem", path, "mesh"};
  { backend.create(uri, {.payload_bytes = MiB(1)}).value(); }
  bench.compare(
      {.name = name, .peer = "pmemobj_open", .goal = at_most(50.0 / 9000.0)},
      [&] {
        return timed_ns_each(16, [&] {
          const auto segment = backend.attach(uri, {.access = Access::read_only});
          keep(segment->host_bytes().value()[0]);
        });
      },
      [&] { return timed_ns([&] { pmemobj_close(pmemobj_open(path.c_str(), "strata")); }); });
  std::filesystem::remove(path);
}

void bench_copies(PairedBench& bench, Setup& setup) {
  const std::string path = setup.directory + "/copy.pool";
  const Pool pool = Pool::create(setup.os, path, {.bytes = 6 * kCheckpointBytes}).value();
  std::vector<std::byte> source(kCheckpointBytes, std::byte{1}), target(kCheckpointBytes);
  if (!checkpoint(source, pool, "model", {.keep_versions = 1})) return;
  bench.compare(
      {.name = "restore 64 MiB, verified, 1 thread",
       .peer = "memcpy",
       .goal = at_most(1 / 0.95),
       .bytes = kCheckpointBytes},
      [&] {
        return timed_ns(
            [&] { keep(restore(pool, "model", 0, target, {.threads = 1}).has_value()); });
      },
      [&] { return timed_ns([&] { std::memcpy(target.data(), source.data(), source.size()); }); });
  bench.compare(
      {.name = "checkpoint 64 MiB, nothing changed",
       .ours = "incremental",
       .peer = "all written",
       .bytes = kCheckpointBytes},
      [&] {
        return timed_ns(
            [&] { keep(checkpoint(source, pool, "model", {.keep_versions = 1}).has_value()); });
      },
      [&] {
        return timed_ns(
            [&] { keep(checkpoint(source, pool, "other", {.keep_versions = 0}).has_value()); });
      });
}

void bench_persist(PairedBench& bench, Setup& setup) {
  const std::string path = setup.directory + "/persist.pool";
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

struct Ledger {
  RobustMutex lock;
  std::array<std::byte, MiB(1)> entries;
};

// One commit is one sync, beside the least that makes as many bytes durable on the same disk.
void bench_commit(PairedBench& bench, Setup& setup) {
  const std::string path = setup.directory + "/commit.pool";
  const Pool pool = Pool::create(setup.os, path, {.bytes = MiB(32)}).value();
  PmemBackend backend(setup.os);
  Segment segment = backend.create({"pmem", path, "x"}, {.payload_bytes = MiB(16)}).value();
  Heap heap = Heap::create(segment).value();
  Ledger* const ledger = heap.make<Ledger>("ledger").value();
  keep(heap.transactions().has_value());
  const std::vector<std::byte> zeros(MiB(8));
  const Fd raw = setup.os.open(setup.directory + "/raw", O_RDWR | O_CREAT, 0600).value();
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
  }
  Setup memory("/dev/shm");
  bench_copies(bench, memory);
  return bench.finish();
}
