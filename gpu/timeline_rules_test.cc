// What a timeline refuses, what it shows and what it costs, on the fake driver.
#include <fcntl.h>

#include "gpu/driver.h"
#include "gpu/timeline_page.h"
#include "gpu/timeline_stat.h"
#include "gpu/timeline_testing.h"
#include "tests/catch.h"

using namespace strata;
using namespace strata::cuda;
using namespace strata::test;

TEST_CASE("where_streams_cannot_wait_the_host_can") {
  const bool by_attribute = GENERATE(false, true);
  const GpuScene scene(by_attribute ? FakeMachine{.more = {{"ATTRIBUTES", "122=0"}}}
                                    : FakeMachine{.more = {{"WITHOUT", "cuStreamWaitValue64"}}});
  const int status = in_creator(scene, [&](GpuProcess& process, Timeline& timeline) {
    Signaller signals = timeline.claim(0).value();
    const Follower follower = timeline.follow(0, soon()).value();
    CuStream stream = process.make_stream();
    for (const Status& error :
         {signals.signal(stream, 1).error(), follower.wait(stream, 1, soon()).error()}) {
      need(has_code(error, Code::unsupported), 2);
      need(error.message().find("on the host") != std::string::npos, 3);
    }
    need(signals.signal(1).has_value() && follower.wait(1, soon()).has_value(), 4);
  });
  CHECK(exit_code(status) == 0);
}

TEST_CASE("what_can_never_succeed_is_refused") {
  const GpuScene scene;
  const int status = in_creator(scene, [&](GpuProcess& process, Timeline& timeline) {
    const Code wrong = Code::invalid_argument;
    need(has_code(timeline.claim(64).error(), wrong), 2);
    need(has_code(timeline.follow(64, soon()).error(), wrong), 3);
    need(has_code(timeline.follow(1, Deadline::after_ms(1)).error(), Code::not_ready), 4);
    Signaller signals = timeline.claim(1).value();
    need(has_code(timeline.claim(1).error(), Code::already_exists), 5);
    need(has_code(signals.signal(0).error(), wrong), 6);
    need(has_code(signals.signal(kMaxSignal + 1).error(), wrong), 7);
    need(signals.signal(2).has_value(), 8);
    need(has_code(signals.signal(2).error(), wrong), 9);
    need(has_code(timeline.follow(1, soon()).value().wait(0, soon()).error(), wrong), 10);
    RealOs os;
    const auto none = Timeline::open_on_host(os, scene.headers.path(), {"cuda", {}, "none"});
    need(has_code(none.error(), Code::not_found), 11);
    need(process.segment().seal().has_value(), 12);
    need(has_code(open_on_host(os, scene).error(), Code::failed_precondition), 13);
  });
  CHECK(exit_code(status) == 0);
}

TEST_CASE("tools_see_every_claimed_slot_without_a_driver") {
  const GpuScene scene;
  Steps steps;
  const pid_t producer = start_creator(scene, [&](GpuProcess&, Timeline& timeline) {
    Signaller first = timeline.claim(0).value();
    Signaller last = timeline.claim(63).value();
    need(first.signal(17).has_value(), 2);
    steps.reach(1);
    pause();
  });
  steps.await(1);
  RealOs os;
  const Fd file = os.open(scene.headers / "strata-cuda.timeline", O_RDONLY).value();
  const LockRange range{file.get(), kLockBaseBytes};
  auto slots = stat_timeline(os, range).value();
  REQUIRE(slots.size() == 2);
  CHECK(slots[0].slot == 0);
  CHECK(slots[0].signalled == 17);
  CHECK(slots[0].is_owner_alive);
  CHECK(slots[0].owner_pid == static_cast<std::uint32_t>(producer));
  CHECK(slots[1].slot == 63);
  CHECK(slots[1].signalled == 0);
  kill_child(producer);
  slots = stat_timeline(os, range).value();
  REQUIRE(slots.size() == 2);
  CHECK_FALSE(slots[0].is_owner_alive);
}

TEST_CASE("signals_and_waits_cost_the_calls_that_they_say") {
  const GpuScene scene;
  const int status = in_child([&] {
    GpuProcess process(scene, Start::create);
    CuStream stream = process.make_stream();
    const ContextScope scope = process.device().enter().value();
    std::uint64_t before = fake_calls("*");
    const auto count = [&] {
      const std::uint64_t now = fake_calls("*");
      return now - std::exchange(before, now);
    };
    Timeline timeline = process.timeline();
    std::printf("open: %llu calls\n", static_cast<unsigned long long>(count()));
    Signaller signals = timeline.claim(0).value();
    const Follower follower = timeline.follow(0, soon()).value();
    need(count() == 0, 2);
    need(signals.signal(1).has_value() && follower.wait(1, soon()).has_value(), 3);
    need(follower.wait(stream, 1, soon()).has_value() && count() == 0, 4);
    need(signals.signal(stream, 2).has_value() && count() == 2, 5);
    need(process.synchronize(stream), 6);
    (void)count();
    const PendingWait first = follower.wait(stream, 3, soon()).value();
    std::printf("first wait: %llu calls\n", static_cast<unsigned long long>(count()));
    const PendingWait second = follower.wait(stream, 3, soon()).value();
    need(count() == 4, 7);
    need(signals.signal(3).has_value() && second.result(soon()).has_value(), 8);
    need(first.is_reached().value() && count() == 0, 9);
  });
  CHECK(exit_code(status) == 0);
}
