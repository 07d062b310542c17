// Kills, failures and scribblers: no stream of a process that lives waits for ever, and no signal
// comes that nobody gave.
#include <fcntl.h>

#include <cstring>
#include <random>

#include "gpu/export_block.h"
#include "gpu/timeline_page.h"
#include "gpu/timeline_testing.h"
#include "os/fault_os.h"
#include "tests/catch.h"
#include "tests/verified.h"

using namespace strata;
using namespace strata::cuda;
using namespace strata::test;

namespace {

constexpr unsigned kSlot = 7;

unsigned seed_of_run() {
  static const unsigned seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  return seed;
}

}  // namespace

TEST_CASE("producers_killed_at_random_hang_no_stream_and_lose_no_signal") {
  const std::uint64_t kRunNs = 4'000'000'000;
  const GpuScene scene;
  Steps steps;
  std::mt19937 random(seed_of_run());
  const pid_t keeper = start_child([&] {
    GpuProcess process(scene, Start::create);
    steps.reach(1);
    pause();
  });
  const pid_t consumer = start_child([&] {
    steps.await(1);
    GpuProcess process(scene, Start::attach);
    Timeline timeline = process.timeline();
    CuStream stream = process.make_stream();
    std::uint64_t reached = 0;
    std::uint64_t deaths = 0;
    std::uint32_t epoch = 0;
    while (steps.now() < 2) {
      const auto follower = timeline.follow(kSlot, Deadline::after_ms(10));
      if (!follower || follower->epoch() == epoch) {
        usleep(500);
        continue;
      }
      epoch = follower->epoch();
      for (std::uint64_t n = 1;; ++n) {
        const auto wait = follower->wait(stream, n, soon());
        const auto result = wait ? wait->result(soon()) : unexpected(wait.error());
        if (result) {
          ++reached;
          continue;
        }
        need(has_code(result.error(), Code::failed_precondition), 2);
        ++deaths;
        break;
      }
      need(process.synchronize(stream), 3);
    }
    report_verified(reached, "signals of streams before their process was killed");
    report_verified(deaths, "waits of a stream that outlived the producer");
  });
  const Deadline end = Deadline::after_ns(kRunNs);
  std::uint64_t kills = 0;
  while (!end.expired()) {
    const pid_t producer = start_child([&] {
      steps.await(1);
      GpuProcess process(scene, Start::attach);
      Timeline timeline = process.timeline();
      auto signals = timeline.claim(kSlot);
      need(signals.has_value(), 2);
      CuStream stream = process.make_stream();
      for (std::uint64_t n = 1;; ++n) {
        need(signals->signal(stream, n).has_value(), 3);
        if (n % 64 == 0) process.synchronize(stream);
      }
    });
    usleep(static_cast<useconds_t>(random() % 60'000));
    kill(producer, SIGKILL);
    const int status = wait_for(producer);
    REQUIRE((was_killed(status) || exit_code(status) == 0));
    ++kills;
  }
  steps.reach(2);
  CHECK(exit_code(wait_for(consumer)) == 0);
  kill_child(keeper);
  report_verified(kills, "producers killed at random");
}

TEST_CASE("a_scribbler_on_the_page_hangs_no_stream_beyond_its_deadline") {
  const GpuScene scene;
  Steps steps;
  const unsigned seed = seed_of_run();
  const std::string path = scene.headers / "strata-cuda.timeline";
  const pid_t keeper = start_child([&] {
    GpuProcess process(scene, Start::create);
    steps.reach(1);
    pause();
  });
  steps.await(1);
  RealOs os;
  const Fd file = os.open(path, O_RDONLY).value();
  const auto header_of = [&] {
    std::vector<std::byte> bytes(kTimelineOffsetBytes);
    REQUIRE(os.pread(file.get(), bytes, 0).value() == bytes.size());
    // The tokens that participants take are counted there.
    std::memset(bytes.data() + offsetof(HeaderPage, live), 0, sizeof(LiveBlock));
    return bytes;
  };
  const auto header = header_of();
  const pid_t scribbler = start_child([&] {
    RealOs own;
    const Fd writable = own.open(path, O_RDWR).value();
    std::byte* const page = own.mmap({.bytes = kTimelineBytes,
                                      .fd = writable.get(),
                                      .offset_bytes = kTimelineOffsetBytes})
                                .value();
    std::mt19937_64 random(seed);
    // In a storm nobody gets as far as to wait; in drizzle those who wait are hit.
    for (std::uint64_t i = 0;; ++i) {
      const std::uint64_t word = random() % 4 ? random() : random() % 64;
      std::memcpy(page + 8 * (random() % (kTimelineBytes / 8)), &word, sizeof word);
      if (i > 200'000) usleep(20);
    }
  });
  const int victim = in_child([&] {
    GpuProcess process(scene, Start::attach);
    Timeline timeline = process.timeline();
    CuStream stream = process.make_stream();
    std::uint64_t waits = 0;
    for (int i = 0; i < 300; ++i) {
      const auto slot = static_cast<unsigned>(i) % kTimelineSlots;
      auto signals = timeline.claim(slot);
      if (signals) (void)signals->signal(stream, 1);
      const auto follower = timeline.follow(slot, Deadline::after_ms(10));
      if (!follower) continue;
      (void)follower->wait(1 + i, Deadline::after_ms(1));
      const auto wait = follower->wait(stream, 1 + i, Deadline::after_ms(20));
      if (!wait) continue;
      ++waits;
      // The stream comes past it; what the wait says is anything but a crash.
      need(process.synchronize(stream), 2);
      const auto result = wait->result(soon());
      need(result || result.error().code() != Code::not_ready, 3);
    }
    report_verified(waits, "waits of a stream beside a scribbler");
  });
  kill_child(scribbler);
  CHECK(exit_code(victim) == 0);
  CHECK(header_of() == header);
  kill_child(keeper);
}

TEST_CASE("no_stream_hangs_whichever_call_of_the_driver_fails") {
  const int result = GENERATE(1, 2, 4, 700, 999);
  const GpuScene scene;
  std::uint64_t failures = 0;
  for (std::uint64_t nth = 1;; ++nth) {
    INFO("call " << nth << ", result " << result);
    const int status = in_child([&] {
      GpuProcess process(scene, Start::create);
      CuStream stream = process.make_stream();
      const std::uint64_t before = fake_calls("*");
      fail_fake_call("*", nth, result);
      const auto play = [&]() -> Result<void> {
        STRATA_ASSIGN(Timeline timeline, Timeline::open(process.segment()));
        STRATA_ASSIGN(Signaller signals, timeline.claim(kSlot));
        STRATA_ASSIGN(const Follower follower, timeline.follow(kSlot, soon()));
        STRATA_TRY(signals.signal(stream, 1));
        STRATA_ASSIGN(const PendingWait first, follower.wait(stream, 1, Deadline::after_ms(30)));
        STRATA_ASSIGN(const PendingWait second, follower.wait(stream, 2, Deadline::after_ms(30)));
        STRATA_TRY(signals.signal(2));
        STRATA_TRY(first.result(Deadline::after_ms(500)));
        return second.result(Deadline::after_ms(500));
      };
      const auto played = play();
      const std::uint64_t calls = fake_calls("*") - before;
      forget_fake_failures();
      if (played && calls < nth) _exit(42);
      need(played || played.error().code() != Code::internal || result == 999, 2);
      // A sticky error ends the context, and with it its streams.
      if (result != 700) need(process.synchronize(stream), 3);
    });
    if (exit_code(status) == 42) break;
    REQUIRE(exit_code(status) == 0);
    ++failures;
  }
  report_verified(failures, "failing calls of the driver below a timeline");
}

TEST_CASE("a_timeline_that_cannot_be_opened_leaves_nothing") {
  const GpuScene scene;
  const int status = in_child([&] {
    const auto os = std::make_shared<FaultOs>();
    GpuProcess process(scene, Start::create, os);
    const auto descriptors = [&] { return os->list_directory("/proc/self/fd").value().size(); };
    {
      Timeline timeline = process.timeline();  // the participant stays
    }
    const std::size_t before = descriptors();
    std::uint64_t failures = 0;
    for (std::uint64_t nth = 1;; ++nth) {
      os->reset();
      os->only_this_thread();  // another one serves the segment meanwhile
      os->fail_at(nth, ENOMEM);
      const bool opened = Timeline::open(process.segment()).has_value();
      const std::vector<std::string> calls = os->trace();
      os->reset();
      need(descriptors() == before, 2);
      if (opened && calls.size() < nth) break;
      need(!opened || calls[nth - 1] == "munmap", 3);
      ++failures;
    }
    report_verified(failures, "failing calls of the kernel below a timeline");
  });
  CHECK(exit_code(status) == 0);
}
