// Pools beside what one would use without them: libpmemobj's open, memcpy, msync.
#include <libpmemobj.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <vector>

#include "bench/paired.h"
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

}  // namespace

int main(int argc, char** argv) {
  PairedBench bench(argc, argv);
  {
    Setup disk("/var/tmp");
    bench_attach(bench, disk, MiB(64), "attach in a pool of 64 MiB");
    bench_attach(bench, disk, GiB(2), "attach in a pool of 2 GiB");
    bench_persist(bench, disk);
  }
  Setup memory("/dev/shm");
  bench_copies(bench, memory);
  bench.note("LMDB and LevelDB are not compared: transactions are the heap's, not the pool's");
  return bench.finish();
}
