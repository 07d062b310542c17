// Whoever waits for a device that comes no further hears of it at the deadline; what was begun goes
// on, and its memory is kept for it. On a fake driver, whose streams can be held up.
#include <vector>

#include "gpu/device_memory.h"
#include "gpu/device_sink.h"
#include "gpu/staging.h"
#include "strata/gpu/device_copy.h"
#include "strata/gpu/leftovers.h"
#include "strata/gpu/map_to_device.h"
#include "tests/catch.h"
#include "tests/gpu/late_stream.h"
#include "tests/gpu/move_testing.h"

using namespace strata;
using namespace strata::cuda;
using namespace strata::test;

namespace {

constexpr std::uint64_t kShortMs = 20;

CuStream make_stream(Device& device) {
  const auto scope = must(device.enter());
  CuStream stream = nullptr;
  must(STRATA_CUDA(device.driver(), cuStreamCreate, &stream, kStreamNonBlocking));
  return stream;
}

template <typename T>
bool is_late(const Result<T>& result) {
  return fails(result, Code::timed_out, "may be freed");
}

void retry_until_nothing_is_left() {
  while (retry_leftovers().count != 0)
    ::usleep(1000);  // the alarm of the child is the watchdog
}

}  // namespace

TEST_CASE("bytes_that_wait_for_the_device_time_out_and_the_ring_works_once_it_goes_on") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_device("x", 0, MiB(5));
    const auto content = pattern(MiB(5));
    must(segment.write(0, content));
    StagingRing ring(self.device());
    const CuDevicePointer address = must(segment.device_bytes()).address;
    std::vector<std::byte> got(MiB(5));
    LateStream late(self.device(), nullptr);
    STRATA_CHECK(is_late(ring.copy_to_host(address, got, kShortMs)));
    STRATA_CHECK(is_late(ring.copy_to_device(address, content, kShortMs)));
    // Its buffers are with the device; nothing is given out twice.
    STRATA_CHECK(is_late(ring.copy_to_host(address, got, kShortMs)));
    STRATA_CHECK(got == std::vector<std::byte>(MiB(5)));
    late.let_go();
    must(ring.copy_to_host(address, got));
    STRATA_CHECK(got == content);
    must(ring.copy_to_device(address, std::vector<std::byte>(MiB(5))));
    must(ring.copy_to_host(address, got));
    return got == std::vector<std::byte>(MiB(5));
  }));
}

TEST_CASE("a_ring_that_ends_while_the_device_is_late_keeps_its_buffers_until_it_is_done") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_device("x", 0, MiB(5));
    const CuDevicePointer address = must(segment.device_bytes()).address;
    LateStream late(self.device(), nullptr);
    {
      StagingRing ring(self.device());
      std::vector<std::byte> got(MiB(5));
      STRATA_CHECK(is_late(ring.copy_to_host(address, got, kShortMs)));
    }
    STRATA_CHECK(leftovers().count == 1 && leftovers().bytes == 3 * MiB(2));
    STRATA_CHECK(retry_leftovers().count == 1 && calls("cuMemFreeHost") == 0);
    late.let_go();
    retry_until_nothing_is_left();
    return calls("cuMemFreeHost") == 3 && calls("cuMemHostAlloc") == 3 && leftovers().bytes == 0;
  }));
}

TEST_CASE("a_staged_copy_times_out_where_the_stream_comes_no_further") {
  const Machine machine({.devices = 2, .more = {{"PEER", "0"}}});
  CHECK(child_says([&] {
    Process self(machine);
    Segment near = self.on_device("a", 0, MiB(1));
    Segment far = self.on_device("b", 1, MiB(1));
    Segment host = self.on_host("a", MiB(1));
    Segment other = self.on_host("b", MiB(1));
    const DeviceView view = must(map_to_device(other, self.device()));
    must(host.write(0, pattern(MiB(1))));
    const CuStream stream = make_stream(self.device());
    LateStream late(self.device(), stream);
    const CopyRange soon{.timeout_ms = kShortMs};
    STRATA_CHECK(is_late(cuda::copy(host, near, stream, soon)));
    STRATA_CHECK(is_late(cuda::copy(near, host, stream, soon)));
    STRATA_CHECK(is_late(cuda::copy(near, far, stream, soon)));
    STRATA_CHECK(is_late(cuda::copy(other, host, stream, soon)));
    // What is only begun waits for nothing.
    STRATA_CHECK(must(cuda::copy(near, other, stream, soon)).state == CopyState::begun);
    late.let_go();
    must(cuda::copy(host, near, stream));
    return bytes_of(near) == pattern(MiB(1));
  }));
}

TEST_CASE("a_copy_between_devices_times_out_where_the_other_device_comes_no_further") {
  const Machine machine({.devices = 2, .more = {{"PEER", "0"}}});
  CHECK(child_says([&] {
    Process self(machine);
    Segment near = self.on_device("a", 0, MiB(3));
    Segment far = self.on_device("b", 1, MiB(3));
    must(near.write(0, pattern(MiB(3))));
    LateStream late(self.device(1), nullptr);
    const auto copied = cuda::copy(near, far, make_stream(self.device()), {.timeout_ms = kShortMs});
    STRATA_CHECK(is_late(copied));
    STRATA_CHECK(copied.error().message().find("device 1") != std::string::npos);
    late.let_go();
    must(cuda::copy(near, far, nullptr));
    return bytes_of(far) == pattern(MiB(3));
  }));
}

TEST_CASE("memory_that_a_late_device_still_zeroes_is_not_unmapped") {
  Machine machine;
  machine.fake.set("DELAY_US", "3000000000");
  CHECK(child_says([&] {
    Process self(machine);
    auto made = must(create_vmm(self.device(), MiB(2), DeviceMechanism::vmm_fd));
    STRATA_CHECK(is_late(filled_with_zeros(std::move(made.memory), Deadline::after_ms(kShortMs))));
    return retry_leftovers().count == 1 && leftovers().bytes == MiB(2) &&
           calls("cuMemUnmap") == 0 && calls("cuStreamDestroy") == 0;
  }));
}
