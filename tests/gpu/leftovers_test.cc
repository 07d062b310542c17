// What a destructor could not give back to the driver is kept, counted and tried again.
#include "strata/gpu/leftovers.h"

#include <optional>

#include "gpu/legacy_memory.h"
#include "gpu/staging.h"
#include "strata/gpu/map_to_device.h"
#include "tests/catch.h"
#include "tests/gpu/move_testing.h"

using namespace strata;
using namespace strata::cuda;
using namespace strata::test;

namespace {

// In a child: what `let_go` gives back fails at its first `call`, is counted, and is given back the
// next time.
bool is_kept(const char* call, std::uint64_t bytes, const std::function<void()>& let_go) {
  fail_fake_call(call, 1, kIllegalState);
  let_go();
  STRATA_CHECK(leftovers().count == 1 && leftovers().bytes == bytes);
  // As often as it fails.
  fail_fake_call(call, 1, kIllegalState);
  STRATA_CHECK(retry_leftovers().count == 1);
  forget_fake_failures();
  const std::int64_t before = calls(call);
  STRATA_CHECK(retry_leftovers().count == 0 && leftovers().bytes == 0);
  return calls(call) == before + 1;
}

}  // namespace

TEST_CASE("a_mapping_that_the_driver_does_not_take_back_is_kept_and_tried_again") {
  const Machine machine;
  for (const char* const call : {"cuMemUnmap", "cuMemAddressFree"}) {
    CHECK(child_says([&] {
      Process self(machine);
      auto segment = std::optional(self.on_device("x", 0, MiB(2)));
      const std::uint64_t free_bytes = must(self.device().free_bytes());
      STRATA_CHECK(is_kept(call, MiB(2), [&] { segment.reset(); }));
      return must(self.device().free_bytes()) == free_bytes + MiB(2);
    }));
  }
}

TEST_CASE("what_was_left_is_given_back_before_more_memory_is_taken") {
  const Machine machine({.devices = 1, .device_bytes = MiB(8)});
  CHECK(child_says([&] {
    Process self(machine);
    auto segment = std::optional(self.on_device("x", 0, MiB(6)));
    fail_fake_call("cuMemUnmap", 1, kIllegalState);
    segment.reset();
    STRATA_CHECK(leftovers().bytes == MiB(6));
    // Without what was left there would be no room.
    segment.emplace(self.on_device("y", 0, MiB(6)));
    return leftovers().count == 0;
  }));
}

TEST_CASE("memory_of_cuda_ipc_that_the_driver_does_not_take_back_is_kept_and_tried_again") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    auto made = must(create_legacy(self.device(), MiB(2)));
    return is_kept("cuMemFree", made.exported.allocation_bytes, [&] { made.memory.reset(); });
  }));
}

TEST_CASE("pinned_buffers_that_the_driver_does_not_take_back_are_kept_and_tried_again") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_device("x", 0, MiB(2));
    auto ring = std::optional<StagingRing>(std::in_place, self.device());
    std::vector<std::byte> got(MiB(1));
    must(ring->copy_to_host(must(segment.device_bytes()).address, got));
    return is_kept("cuMemFreeHost", MiB(2), [&] { ring.reset(); });
  }));
}

TEST_CASE("pages_that_stay_registered_keep_their_segment_attached") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    auto view = std::optional(must(map_to_device(self.on_host("x", MiB(1)), self.device())));
    fail_fake_call("cuMemHostUnregister", 1, kIllegalState);
    view.reset();
    forget_fake_failures();
    STRATA_CHECK(leftovers().bytes == MiB(1));
    STRATA_CHECK(must(self.shm.stat({"shm", {}, "x"})).is_attached);
    STRATA_CHECK(retry_leftovers().count == 0);
    return !must(self.shm.stat({"shm", {}, "x"})).is_attached;
  }));
}

TEST_CASE("what_ended_with_the_driver_is_not_left_over") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    auto segment = std::optional(self.on_device("x", 0, MiB(2)));
    fail_fake_call("cuMemUnmap", 1, kDeinitialized);
    fail_fake_call("cuMemAddressFree", 1, kDeinitialized);
    segment.reset();
    return leftovers().count == 0;
  }));
}
