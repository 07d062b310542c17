// Orders the streams and threads of real processes, on the fake driver.
#include <fcntl.h>

#include "gpu/driver.h"
#include "gpu/timeline_testing.h"
#include "tests/catch.h"
#include "tests/verified.h"

using namespace strata;
using namespace strata::cuda;
using namespace strata::test;

namespace {

// Keeps the segment, and owns no slot.
pid_t start_keeper(const GpuScene& scene, Steps& steps) {
  const pid_t keeper = start_child([&] {
    GpuProcess process(scene, Start::create);
    steps.reach(1);
    pause();
  });
  steps.await(1);
  return keeper;
}

}  // namespace

TEST_CASE("streams_of_two_processes_hand_the_same_bytes_to_and_fro") {
  constexpr unsigned kRounds = 200;
  const GpuScene scene;
  Steps steps;
  // Each writes its round into the buffer once the other has read the round before.
  const auto play = [&](GpuProcess& process, unsigned mine, unsigned theirs, bool begins) {
    Timeline timeline = process.timeline();
    Signaller signals = timeline.claim(mine).value();
    const Follower in = timeline.follow(theirs, soon()).value();
    CuStream stream = process.make_stream();
    const CuDevicePointer buffer = CudaPayload::of(process.segment()).value()->address();
    const ContextScope scope = process.device().enter().value();
    for (unsigned n = 1; n <= kRounds; ++n) {
      const std::uint64_t awaited = begins ? n - 1 : n;
      unsigned char seen = 0;
      if (awaited > 0) {
        const PendingWait wait = in.wait(stream, awaited, soon()).value();
        need(STRATA_CUDA(process.driver(), cuMemcpyDtoHAsync, &seen, buffer, 1, stream).has_value(),
             2);
        need(wait.result(soon()).has_value(), 3);
        need(process.synchronize(stream), 4);
        // The one who begins reads the answer to its round before, the other one the question.
        const unsigned expected = begins ? 2 * (n - 1) + 1 : 2 * n;
        need(seen == (expected & 0xFF), 5);
      }
      const auto value = static_cast<unsigned char>(begins ? 2 * n : 2 * n + 1);
      need(STRATA_CUDA(process.driver(), cuMemsetD8Async, buffer, value, 1, stream).has_value(), 6);
      need(signals.signal(stream, n).has_value(), 7);
    }
    need(process.synchronize(stream), 8);
    if (begins) need(in.wait(kRounds, soon()).has_value(), 9);
  };
  const pid_t first = start_child([&] {
    GpuProcess process(scene, Start::create);
    steps.reach(1);
    play(process, 0, 1, true);
    steps.reach(2);
  });
  const pid_t second = start_child([&] {
    steps.await(1);
    GpuProcess process(scene, Start::attach);
    play(process, 1, 0, false);
    steps.await(2);
  });
  CHECK(exit_code(wait_for(first)) == 0);
  CHECK(exit_code(wait_for(second)) == 0);
  report_verified(2 * kRounds, "hand-overs between streams of two processes");
}

TEST_CASE("ten_thousand_signals_all_arrive") {
  constexpr std::uint64_t kSignals = 10'000;
  const GpuScene scene;
  Steps steps;
  const pid_t producer = start_creator(scene, [&](GpuProcess& process, Timeline& timeline) {
    Signaller signals = timeline.claim(5).value();
    CuStream stream = process.make_stream();
    steps.reach(1);
    for (std::uint64_t n = 1; n <= kSignals; ++n)
      need(signals.signal(stream, n).has_value(), 2);
    need(process.synchronize(stream), 3);
    steps.await(2);
  });
  const pid_t consumer = start_child([&] {
    steps.await(1);
    GpuProcess process(scene, Start::attach);
    const Follower follower = process.timeline().follow(5, soon()).value();
    CuStream stream = process.make_stream();
    std::uint64_t reached = 0;
    for (std::uint64_t n = 1; n <= kSignals; ++n) {
      const PendingWait wait = follower.wait(stream, n, soon()).value();
      need(n % 100 != 0 || wait.result(soon()).has_value(), 2);
      ++reached;
    }
    need(process.synchronize(stream), 3);
    need(reached == kSignals && follower.is_reached(kSignals).value(), 4);
    need(has_code(follower.wait(kSignals + 1, Deadline::after_ms(1)).error(), Code::timed_out), 5);
    steps.reach(2);
  });
  CHECK(exit_code(wait_for(consumer)) == 0);
  CHECK(exit_code(wait_for(producer)) == 0);
  report_verified(kSignals, "signals of a stream that arrived");
}

TEST_CASE("a_stream_that_waits_for_a_killed_process_ends_and_everybody_is_told_why") {
  const GpuScene scene;
  Steps steps;
  const pid_t producer = start_creator(scene, [&](GpuProcess&, Timeline& timeline) {
    Signaller signals = timeline.claim(0).value();
    need(signals.signal(3).has_value(), 1);
    steps.reach(1);
    pause();
  });
  const pid_t consumer = start_attacher(scene, steps, [&](GpuProcess& process, Timeline& timeline) {
    const Follower follower = timeline.follow(0, soon()).value();
    CuStream stream = process.make_stream();
    const PendingWait wait = follower.wait(stream, 4, soon()).value();
    need(!wait.is_reached().value(), 2);
    steps.reach(2);
    need(process.synchronize(stream), 3);
    need(has_code(wait.result(soon()).error(), Code::failed_precondition), 4);
    need(wait.result(soon()).error().message().find(std::to_string(producer)) != std::string::npos,
         5);
    // What was signalled stays so; what was not is refused at once, without the stream.
    need(follower.wait(stream, 3, soon()).value().is_reached().value(), 6);
    need(has_code(follower.wait(stream, 5, soon()).error(), Code::failed_precondition), 7);
    steps.reach(3);
    // A new owner is another epoch.
    steps.await(4);
    const Follower anew = timeline.follow(0, soon()).value();
    need(anew.epoch() == follower.epoch() + 1, 8);
    const PendingWait again = anew.wait(stream, 1, soon()).value();
    steps.reach(5);
    need(again.result(soon()).has_value(), 9);
    need(has_code(follower.wait(5, soon()).error(), Code::failed_precondition), 10);
    need(follower.is_reached(3).value(), 11);
    steps.reach(6);
  });
  // A third process, without a driver.
  const pid_t heir = start_child([&] {
    steps.await(3);
    RealOs os;
    Timeline timeline = open_on_host(os, scene).value();
    const Follower follower = timeline.follow(0, soon()).value();
    need(has_code(follower.is_reached(4).error(), Code::failed_precondition), 2);
    need(follower.is_reached(3).value(), 3);
    Signaller signals = timeline.claim(0).value();
    steps.reach(4);
    steps.await(5);
    need(signals.signal(1).has_value(), 4);
    steps.await(6);
  });
  steps.await(2);
  kill_child(producer);
  CHECK(exit_code(wait_for(consumer)) == 0);
  CHECK(exit_code(wait_for(heir)) == 0);
}

TEST_CASE("a_stream_waits_no_longer_than_its_deadline_and_the_slot_is_given_up") {
  const GpuScene scene;
  Steps steps;
  const pid_t producer = start_creator(scene, [&](GpuProcess& process, Timeline& timeline) {
    CuStream stream = process.make_stream();
    {
      Signaller signals = timeline.claim(63).value();
      steps.reach(1);
      steps.await(2);
      need(has_code(signals.signal(1).error(), Code::failed_precondition), 2);
      need(has_code(signals.signal(stream, 1).error(), Code::failed_precondition), 3);
    }
    Signaller anew = timeline.claim(63).value();
    need(anew.signal(stream, 1).has_value(), 4);
    steps.reach(3);
    steps.await(4);
  });
  const pid_t consumer = start_attacher(scene, steps, [&](GpuProcess& process, Timeline& timeline) {
    const Follower follower = timeline.follow(63, soon()).value();
    CuStream stream = process.make_stream();
    const PendingWait wait = follower.wait(stream, 1, Deadline::after_ms(50)).value();
    const PendingWait other = follower.wait(process.make_stream(), 2, soon()).value();
    need(has_code(wait.result(soon()).error(), Code::timed_out), 2);
    // The poison of one is the end of all.
    need(has_code(other.result(soon()).error(), Code::timed_out), 3);
    need(process.synchronize(stream), 4);
    RealOs os;
    Timeline third = open_on_host(os, scene).value();
    need(has_code(third.follow(63, soon()).value().wait(1, soon()).error(), Code::timed_out), 5);
    steps.reach(2);
    steps.await(3);
    need(timeline.follow(63, soon()).value().wait(1, soon()).has_value(), 6);
    need(has_code(follower.wait(1, soon()).error(), Code::failed_precondition), 7);
    steps.reach(4);
  });
  CHECK(exit_code(wait_for(consumer)) == 0);
  CHECK(exit_code(wait_for(producer)) == 0);
}

TEST_CASE("a_process_without_a_driver_signals_streams_and_waits_for_them") {
  const GpuScene scene;
  Steps steps;
  const pid_t device_side = start_creator(scene, [&](GpuProcess& process, Timeline& timeline) {
    Signaller out = timeline.claim(0).value();
    steps.reach(1);
    const Follower in = timeline.follow(1, soon()).value();
    CuStream stream = process.make_stream();
    for (std::uint64_t n = 1; n <= 100; ++n) {
      const PendingWait wait = in.wait(stream, n, soon()).value();
      need(out.signal(stream, n).has_value(), 2);
      need(wait.result(soon()).has_value(), 3);
    }
    steps.await(2);
  });
  const pid_t host_side = start_host_side(scene, steps, [&](Timeline& timeline) {
    Signaller out = timeline.claim(1).value();
    const Follower in = timeline.follow(0, soon()).value();
    for (std::uint64_t n = 1; n <= 100; ++n) {
      need(out.signal(n).has_value(), 2);
      need(in.wait(n, soon()).has_value(), 3);
    }
    need(has_code(out.signal(nullptr, 101).error(), Code::unsupported), 4);
    need(has_code(in.wait(nullptr, 101, soon()).error(), Code::unsupported), 5);
    steps.reach(2);
  });
  CHECK(exit_code(wait_for(host_side)) == 0);
  CHECK(exit_code(wait_for(device_side)) == 0);
}

TEST_CASE("what_a_signaller_has_queued_is_signalled_after_its_end") {
  const GpuScene scene({.more = {{"DELAY_US", "100000"}}});
  Steps steps;
  const pid_t producer = start_creator(scene, [&](GpuProcess& process, Timeline& timeline) {
    steps.reach(1);
    CuStream stream = process.make_stream();
    {
      Signaller signals = timeline.claim(0).value();
      steps.await(2);
      need(signals.signal(stream, 1).has_value() && signals.signal(stream, 2).has_value(), 2);
    }
    steps.await(3);
  });
  const pid_t consumer = start_host_side(scene, steps, [&](Timeline& timeline) {
    const Follower follower = timeline.follow(0, soon()).value();
    steps.reach(2);
    need(follower.wait(2, soon()).has_value(), 2);
    // Then it is given back, although its process lives.
    need(has_code(follower.wait(3, soon()).error(), Code::failed_precondition), 3);
    need(timeline.claim(0).has_value(), 4);
    steps.reach(3);
  });
  CHECK(exit_code(wait_for(consumer)) == 0);
  CHECK(exit_code(wait_for(producer)) == 0);
}

TEST_CASE("a_wait_that_nobody_asks_after_holds_the_segment_until_its_stream_has_passed") {
  const GpuScene scene;
  Steps steps;
  const pid_t keeper = start_keeper(scene, steps);
  const int status = in_child([&] {
    RealOs os;
    Timeline host = open_on_host(os, scene).value();
    Signaller signals = host.claim(0).value();
    CuStream stream = nullptr;
    auto process = std::make_unique<GpuProcess>(scene, Start::attach);
    {
      const Follower follower = process->timeline().follow(0, soon()).value();
      stream = process->make_stream();
      (void)follower.wait(stream, 1, soon()).value();
    }
    process.reset();
    need(signals.signal(1).has_value(), 2);
    // Nobody calls the library any more: it lets go by itself.
    const std::string path = scene.headers / "strata-cuda.timeline";
    const Fd file = os.open(path, O_RDONLY).value();
    const auto counts = [&] {
      unsigned mine = 0;
      for (const Holder& holder : find_holders(os, {file.get(), kLockBaseBytes}))
        mine += holder.pid == getpid() && holder.is_writer;
      return mine;
    };
    while (counts() != 0)
      usleep(1000);
  });
  kill_child(keeper);
  CHECK(exit_code(status) == 0);
}

TEST_CASE("a_forked_child_signals_nothing_and_poisons_nothing") {
  const GpuScene scene;
  const int status = in_creator(scene, [&](GpuProcess& process, Timeline& timeline) {
    Signaller signals = timeline.claim(0).value();
    const Follower follower = timeline.follow(0, soon()).value();
    CuStream stream = process.make_stream();
    PendingWait wait = follower.wait(stream, 1, soon()).value();
    const int child = in_child([&] {
      const Code refused = Code::failed_precondition;
      need(has_code(signals.signal(1).error(), refused), 2);
      need(has_code(timeline.claim(1).error(), refused), 3);
      need(has_code(follower.wait(1, soon()).error(), refused), 4);
      need(has_code(follower.wait(stream, 1, soon()).error(), refused), 5);
      need(has_code(wait.is_reached().error(), refused), 6);
      need(has_code(wait.result(soon()).error(), refused), 7);
    });
    need(exit_code(child) == 0, 10 + exit_code(child));
    // Nor does one that ends in the ordinary way.
    need(in_child([&] {
           const Signaller mine = std::move(signals);
           const PendingWait theirs = std::move(wait);
         }) == 0,
         3);
    need(!wait.is_reached().value(), 4);
    need(signals.signal(1).has_value(), 5);
    need(wait.result(soon()).has_value(), 6);
  });
  CHECK(exit_code(status) == 0);
}
