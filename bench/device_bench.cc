// Bytes between host, device and pool, beside the bare calls of the driver that do the same. On a
// driver that says FAKE there are no rates: only how many calls an operation makes, and what our
// layer takes beyond the bare call.
//
// LD_LIBRARY_PATH says which driver, as for every program.

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "bench/paired.h"
#include "gpu/cuda_backend.h"
#include "gpu/driver.h"
#include "gpu/fake_device.h"
#include "segment/fake_backend.h"
#include "strata/copy.h"
#include "strata/gpu/device_copy.h"
#include "strata/gpu/map_to_device.h"
#include "strata/pmem/pool.h"
#include "strata/strata.h"

using namespace strata;
using namespace strata::cuda;

namespace {

constexpr std::uint64_t kBytes = MiB(256);
constexpr std::uint64_t kFakeBytes = MiB(8);

template <typename T>
T must(Result<T> made) {
  if (!made) {
    std::fprintf(stderr, "%s\n", made.error().to_string().c_str());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*made);
}

// A folder that is gone afterwards, for a pool.
class Folder {
 public:
  Folder() {
    const char* const where = std::getenv("STRATA_BENCH_DIRECTORY");
    path_ = std::string(where ? where : "/dev/shm") + "/strata-device-bench-XXXXXX";
    if (!::mkdtemp(path_.data())) std::exit(1);
  }
  ~Folder() {
    (void)::unlink((path_ + "/pool").c_str());
    (void)::rmdir(path_.c_str());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

Segment make(Catalog& catalog, const std::string& scheme, const char* name, std::uint64_t bytes) {
  CreateOptions options;
  options.payload_bytes = bytes;
  options.lifetime = Lifetime::last_detach;
  if (scheme == "shm") options.lifetime = Lifetime::process;
  return must(
      catalog.create(fmt::format("{}:device-bench-{}-{}", scheme, name, ::getpid()), options));
}

// Everything that is compared, on one device.
struct Parts {
  explicit Parts(std::uint64_t bytes)
      : bytes(bytes),
        host(make(catalog, "shm", "host", bytes)),
        source(make(catalog, "cuda", "from", bytes)),
        target(make(catalog, "cuda", "to", bytes)),
        device(must(CudaPayload::of(source))->device()),
        driver(device.driver()),
        pageable(bytes, std::byte{1}),
        scope(must(device.enter())) {
    void* memory = nullptr;
    must(STRATA_CUDA(driver, cuMemHostAlloc, &memory, bytes, 0));
    pinned = {static_cast<std::byte*>(memory), bytes};
    must(source.write(0, pageable));
  }
  ~Parts() { (void)driver.call().cuMemFreeHost(pinned.data()); }

  CuDevicePointer from() const { return must(source.device_bytes()).address; }
  CuDevicePointer to() const { return must(target.device_bytes()).address; }
  void wait() const { must(STRATA_CUDA(driver, cuCtxSynchronize)); }

  std::uint64_t bytes;
  RealOs os;
  Catalog catalog = make_catalog(os);
  Segment host;
  Segment source;
  Segment target;
  Device& device;
  const Driver& driver;
  std::vector<std::byte> pageable;
  ContextScope scope;
  std::span<std::byte> pinned;
};

// One operation of ours, and the bare calls that move the same bytes.
struct Operation {
  PairedCase what;
  PairedBench::Side ours;
  PairedBench::Side bare;
};

std::vector<Operation> reads_and_writes(Parts& p) {
  return {
      {{.name = "read into pageable memory", .goal = at_most(1.0), .bytes = p.bytes},
       [&p] { return timed_ns([&] { must(p.source.read(0, p.pageable)); }); },
       [&p] {
         return timed_ns([&] {
           must(STRATA_CUDA(p.driver, cuMemcpyDtoH, p.pageable.data(), p.from(), p.bytes));
         });
       }},
      {{.name = "write from pageable memory", .goal = at_most(1.0), .bytes = p.bytes},
       [&p] { return timed_ns([&] { must(p.target.write(0, p.pageable)); }); },
       [&p] {
         return timed_ns([&] {
           must(STRATA_CUDA(p.driver, cuMemcpyHtoD, p.to(), p.pageable.data(), p.bytes));
         });
       }},
  };
}

double to_device_ns(Parts& p, const std::byte* from) {
  return timed_ns([&] {
    must(STRATA_CUDA(p.driver, cuMemcpyHtoDAsync, p.to(), from, p.bytes, nullptr));
    p.wait();
  });
}

// `host` is mapped to the device.
std::vector<Operation> direct_copies(Parts& p) {
  const auto on_stream = [&p](const Segment& from) {
    return timed_ns([&] {
      must(cuda::copy(from, p.target, nullptr));
      p.wait();
    });
  };
  return {
      {{.name = "mapped shm to device, beside cuMemHostAlloc",
        .goal = at_most(1 / 0.95),
        .bytes = p.bytes},
       [on_stream, &p] { return on_stream(p.host); },
       [&p] { return to_device_ns(p, p.pinned.data()); }},
      {{.name = "mapped shm to device, beside pageable", .goal = faster_by(1.5), .bytes = p.bytes},
       [on_stream, &p] { return on_stream(p.host); },
       [&p] { return to_device_ns(p, p.pageable.data()); }},
      {{.name = "copy on the device", .goal = at_most(1 / 0.98), .bytes = p.bytes},
       [on_stream, &p] { return on_stream(p.source); },
       [&p] {
         return timed_ns([&] {
           must(STRATA_CUDA(p.driver, cuMemcpyAsync, p.to(), p.from(), p.bytes, nullptr));
           p.wait();
         });
       }},
  };
}

Operation pinning(Parts& p) {
  const double goal_us = 120e3 * static_cast<double>(p.bytes) / static_cast<double>(GiB(1));
  return {{.name = "map_to_device of a segment that has its pages",
           .goal = at_most_us(goal_us),
           .bytes = p.bytes},
          [&p] { return timed_ns([&] { must(map_to_device(p.host, p.device)); }); },
          [&p] {
            std::byte* const memory = must(p.host.writable_bytes()).data();
            return timed_ns([&] {
              must(STRATA_CUDA(p.driver, cuMemHostRegister, memory, p.bytes, 3));
              must(STRATA_CUDA(p.driver, cuMemHostUnregister, memory));
            });
          }};
}

// Beside the slower of its two parts: the device's copy to pinned memory, and a checkpoint of as
// many bytes that the host has already.
Operation device_checkpoint(Parts& p, const Pool& pool) {
  return {
      {.name = "checkpoint of device memory",
       .peer = "slower part",
       .goal = at_most(1 / 0.9),
       .bytes = p.bytes},
      [&p, &pool] {
        return timed_ns([&] { must(checkpoint(p.source, pool, "device", {.keep_versions = 0})); });
      },
      [&p, &pool] {
        const double copying = timed_ns(
            [&] { must(STRATA_CUDA(p.driver, cuMemcpyDtoH, p.pinned.data(), p.from(), p.bytes)); });
        const std::span<const std::byte> bytes = p.pinned;
        const double storing =
            timed_ns([&] { must(checkpoint(bytes, pool, "device", {.keep_versions = 0})); });
        return std::max(copying, storing);
      }};
}

// How many bytes of pool it takes to hold a version while the next is made.
Pool make_pool(Os& os, const Folder& folder, std::uint64_t bytes) {
  return must(Pool::create(os, folder / "pool", {.bytes = 3 * bytes + MiB(64)}));
}

// Needs no driver: memory that is only reached by copies, as a device's, beside what the host has.
void compare_memory_behind_copies(PairedBench& bench) {
  RealOs os;
  const Folder folder;
  const Pool pool = make_pool(os, folder, kBytes);
  FakeBackend backend(os, {.reach = FakeOptions::Reach::copies});
  CreateOptions options;
  options.payload_bytes = kBytes;
  Segment segment = must(backend.create({"fake", {}, "x"}, options));
  const std::vector<std::byte> content(kBytes, std::byte{3});
  must(segment.write(0, content));
  bench.compare(
      {.name = "checkpoint of memory behind copies, beside the host's",
       .peer = "host's",
       .goal = at_most(1 / 0.9),
       .bytes = kBytes},
      [&] { return timed_ns([&] { must(checkpoint(segment, pool, "x", {.keep_versions = 0})); }); },
      [&] {
        return timed_ns(
            [&] { must(checkpoint(std::span(content), pool, "x", {.keep_versions = 0})); });
      });
}

using CountFn = std::uint64_t (*)(const char* call);

// What only the fake driver has.
CountFn find_counter(const Driver& driver) {
  void* const library = ::dlopen(driver.library().c_str(), RTLD_NOW | RTLD_NOLOAD);
  void* const found = library ? ::dlsym(library, "strata_fake_cuda_count") : nullptr;
  return reinterpret_cast<CountFn>(found);
}

// What a fake can tell: calls, and time of ours beyond the bare calls.
void tell_calls_and_overhead(PairedBench& bench, const Operation& operation, CountFn count) {
  (void)operation.ours();
  (void)operation.bare();
  const auto calls_of = [&](const PairedBench::Side& side) {
    const std::uint64_t before = count("*");
    (void)side();
    return count("*") - before;
  };
  std::vector<double> beyond_us;
  for (unsigned i = 0; i < bench.pairs(); ++i)
    beyond_us.push_back((operation.ours() - operation.bare()) / 1e3);
  std::sort(beyond_us.begin(), beyond_us.end());
  bench.note(fmt::format("FAKE driver: {}: {} calls of the driver, bare {}; {:+.1f} us beyond it",
                         operation.what.name, calls_of(operation.ours), calls_of(operation.bare),
                         beyond_us[beyond_us.size() / 2]));
}

}  // namespace

int main(int argc, char** argv) {
  PairedBench bench(argc, argv);
  compare_memory_behind_copies(bench);
  const auto devices = Devices::load({});
  if (!devices) {
    bench.note("nothing with a device: " + devices.error().to_string());
    return bench.finish();
  }
  const bool has_fake = is_fake((*devices)->all().front()->uuid());
  const CountFn count = has_fake ? find_counter((*devices)->driver()) : nullptr;
  if (has_fake && !count) {
    bench.note("the device says that it is a FAKE, and does not count calls: nothing to tell");
    return bench.finish();
  }
  Parts parts(has_fake ? kFakeBytes : kBytes);
  const auto run = [&](const Operation& operation) {
    if (!bench.wants(operation.what.name)) return;
    if (has_fake) {
      tell_calls_and_overhead(bench, operation, count);
    } else {
      bench.compare(operation.what, operation.ours, operation.bare);
    }
  };
  for (const Operation& operation : reads_and_writes(parts))
    run(operation);
  run(pinning(parts));
  {
    const DeviceView view = must(map_to_device(parts.host, parts.device));
    if (!view.caution().empty()) bench.note(view.caution());
    for (const Operation& operation : direct_copies(parts))
      run(operation);
  }
  const Folder folder;
  const Pool pool = make_pool(parts.os, folder, parts.bytes);
  run(device_checkpoint(parts, pool));
  return bench.finish();
}
