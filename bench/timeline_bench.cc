// Signals between two processes, and opens from a cache, on the tests' fake driver: so these are
// times of our own code, of the kernel and of the fake's threads, and say nothing of any device.
// `bazel run --config=opt //bench:timeline_bench`: the fake is among its runfiles.
#include <fmt/format.h>

#include <thread>

#include "bench/paired.h"
#include "gpu/timeline_testing.h"
#include "strata/gpu/device_cache.h"

using namespace strata;
using namespace strata::cuda;
using namespace strata::test;

namespace {

constexpr std::uint64_t kRounds = 200;
constexpr std::uint64_t kOpens = 20'000;
constexpr std::uint64_t kAttaches = 20;

enum class By : unsigned { host = 0, stream = 1 };

// One process's end of a conversation: it signals on one slot and waits for another.
class End {
 public:
  End(GpuProcess& process, unsigned mine, unsigned theirs, By by)
      : timeline_(process.timeline()),
        out_(timeline_.claim(mine).value()),
        in_(timeline_.follow(theirs, soon()).value()),
        stream_(process.make_stream()),
        by_(by) {}

  void give(std::uint64_t n) {
    STRATA_CHECK((by_ == By::host ? out_.signal(n) : out_.signal(stream_, n)).has_value());
  }
  bool take(std::uint64_t n) {
    if (by_ == By::host) return in_.wait(n, soon()).has_value();
    const auto wait = in_.wait(stream_, n, soon());
    return wait && wait->result(soon());
  }
  // There and back again, as often as asked; the mean time of one way.
  double one_way_ns() {
    return timed_ns_each(kRounds,
                         [&] {
                           give(++n_);
                           STRATA_CHECK(take(n_));
                         }) /
           2;
  }

 private:
  Timeline timeline_;
  Signaller out_;
  Follower in_;
  CuStream stream_;
  By by_;
  std::uint64_t n_ = 0;
};

void answer(GpuProcess& process, By by) {
  const auto slot = static_cast<unsigned>(by);
  End end(process, slot + 2, slot, by);
  for (std::uint64_t n = 1; end.take(n); ++n)
    end.give(n);
}

void measure(const GpuScene& scene, int argc, char** argv) {
  PairedBench bench(argc, argv);
  bench.note("FAKE driver: nothing here tells of a device");
  GpuProcess process(scene, Start::attach);
  End host(process, 0, 2, By::host);
  End stream(process, 1, 3, By::stream);
  bench.compare(
      {.name = "FAKE: signal to wait, one way", .ours = "streams", .peer = "host"},
      [&] { return stream.one_way_ns(); }, [&] { return host.one_way_ns(); });

  const auto cache = DeviceCache::open(process.catalog(), std::uint64_t{1} << 30).value();
  const CachedSegment first = cache->open(kUri).value();
  bench.compare(
      {.name = "FAKE: open", .ours = "cached", .peer = "attach", .goal = at_most_us(0.5)},
      [&] { return timed_ns_each(kOpens, [&] { keep(cache->open(kUri).has_value()); }); },
      [&] {
        return timed_ns_each(kAttaches, [&] { keep(process.catalog().attach(kUri).has_value()); });
      });
  (void)bench.finish();
}

}  // namespace

int main(int argc, char** argv) {
  const GpuScene scene;
  Steps steps;
  const pid_t other = start_child([&] {
    GpuProcess process(scene, Start::create);
    steps.reach(1);
    std::thread by_stream([&] { answer(process, By::stream); });
    answer(process, By::host);
    by_stream.join();
  });
  const int status = in_child([&] {
    steps.await(1);
    measure(scene, argc, argv);
  });
  kill_child(other);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
