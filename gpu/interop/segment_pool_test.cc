#include "strata/gpu/interop/segment_pool.h"

#include <random>

#include "gpu/cuda_backend.h"
#include "gpu/driver.h"
#include "segment/fake_backend.h"
#include "strata/gpu/interop/region_allocator.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/fake_cuda/fake_cuda.h"

namespace strata::inline v0_1::interop {
namespace {

using Taken = std::map<std::uint64_t, std::uint64_t>;  // offset → bytes asked for

// Whether nothing else takes a part of it.
bool is_alone(const Taken& taken, std::uint64_t offset, std::uint64_t bytes) {
  const auto next = taken.lower_bound(offset);
  if (next != taken.end() && next->first < offset + bytes) return false;
  return next == taken.begin() || std::prev(next)->first + std::prev(next)->second <= offset;
}

TEST_CASE("an_allocator_agrees_with_a_model_and_is_one_piece_again_in_the_end") {
  const std::uint32_t seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  constexpr std::uint64_t kBytes = 1 << 20;
  RegionAllocator allocator(kBytes);
  Taken taken;
  for (int step = 0; step < 20'000; ++step) {
    const bool grows = taken.empty() || random() % 100 < (step / 2000 % 2 ? 35 : 65);
    if (grows) {
      const std::uint64_t bytes = random() % (random() % 8 ? 3000 : 60'000);
      const std::uint64_t alignment = std::uint64_t{1} << random() % 14;
      const auto offset = allocator.allocate(bytes, alignment);
      if (!offset) {
        REQUIRE(offset.error().code() == Code::exhausted);
        // Without padding there must have been no room.
        REQUIRE((alignment > RegionAllocator::kGranule || allocator.largest_free_bytes() < bytes));
        continue;
      }
      REQUIRE(*offset % alignment == 0);
      REQUIRE(*offset % RegionAllocator::kGranule == 0);
      REQUIRE(*offset + bytes <= kBytes);
      REQUIRE(is_alone(taken, *offset, std::max<std::uint64_t>(bytes, 1)));
      taken.emplace(*offset, std::max<std::uint64_t>(bytes, 1));
    } else {
      const auto victim = std::next(taken.begin(), static_cast<long>(random() % taken.size()));
      allocator.free(victim->first);
      taken.erase(victim);
    }
    REQUIRE(allocator.allocation_count() == taken.size());
  }
  for (const auto& [offset, bytes] : taken)
    allocator.free(offset);
  CHECK(allocator.free_bytes() == kBytes);
  CHECK(allocator.largest_free_bytes() == kBytes);
}

TEST_CASE("an_allocator_refuses_what_does_not_fit_and_alignments_that_are_none") {
  RegionAllocator allocator(4096 + 100);
  CHECK(allocator.free_bytes() == 4096);
  CHECK(allocator.allocate(4097).error().code() == Code::exhausted);
  CHECK(allocator.allocate(~std::uint64_t{0}).error().code() == Code::exhausted);
  CHECK(allocator.allocate(1, 3).error().code() == Code::invalid_argument);
  CHECK(allocator.allocate(1, 0).error().code() == Code::invalid_argument);
  CHECK(allocator.allocate(4096).value() == 0);
  CHECK(allocator.allocate(0).error().code() == Code::exhausted);
  allocator.free(0);
  CHECK(allocator.allocate(0).value() != allocator.allocate(0).value());
  RegionAllocator nothing(255);
  CHECK(nothing.allocate(0).error().code() == Code::exhausted);
}

struct DeviceSegment {
  RealOs os;
  test::TempDir directory;
  CudaBackend backend{os,
                      {.directory = directory.path(), .driver_library = test::fake_driver_path()}};
  SegmentUri uri = SegmentUri::parse("cuda:pool").value();
  Segment segment = backend.create(uri, {.payload_bytes = 2 << 20}).value();
  std::shared_ptr<SegmentPool> pool = SegmentPool::over(segment).value();
};

TEST_CASE("a_pool_allocates_inside_of_its_segment_and_keeps_it") {
  const test::FakeDevices fake;
  CHECK(test::child_says([] {
    DeviceSegment made;
    const DeviceSpan span = made.segment.device_bytes().value();
    { const Segment gone = std::move(made.segment); }
    const auto a = made.pool->allocate(1 << 20, 256).value();
    const auto b = made.pool->allocate(1000, 4096).value();
    const bool is_inside = a >= span.address && b + 1000 <= span.address + span.bytes &&
                           b % 4096 == 0 && (b >= a + (1 << 20) || b + 1000 <= a);
    if (made.pool->allocate(1 << 20, 256).error().code() != Code::exhausted) return false;
    made.pool->free(a);
    made.pool->free(b);
    return is_inside && made.pool->free_bytes() == span.bytes &&
           made.pool->allocate(1, 0).error().code() == Code::invalid_argument;
  }));
}

TEST_CASE("what_a_stream_still_uses_is_given_to_nobody_else") {
  test::FakeDevices fake;
  fake.set("DELAY_US", "100000");
  CHECK(test::child_says([] {
    DeviceSegment made;
    cuda::Device& device = *cuda::Devices::load({}).value()->all().front();
    const auto scope = device.enter().value();
    cuda::CuStream stream = nullptr;
    STRATA_CHECK(device.driver().call().cuStreamCreate(&stream, cuda::kStreamNonBlocking) ==
                 cuda::kSuccess);
    const auto all = made.pool->allocate(2 << 20, 256).value();
    STRATA_CHECK(device.driver().call().cuMemsetD8Async(all, 1, 2 << 20, stream) == cuda::kSuccess);
    if (!made.pool->free_after(all, stream)) return false;
    const auto at_once = made.pool->allocate(1, 256, Deadline::after_ms(0));
    if (at_once || at_once.error().code() != Code::timed_out) return false;
    const auto later = made.pool->allocate(1, 256, Deadline::after_ms(120'000));
    return later && device.driver().call().cuStreamQuery(stream) == cuda::kSuccess;
  }));
}

TEST_CASE("nothing_is_allocated_in_segments_that_may_only_be_read_or_are_host_memory") {
  const test::FakeDevices fake;
  CHECK(test::child_says([] {
    DeviceSegment made;
    const Segment reader = made.backend.attach(made.uri, {.access = Access::read_only}).value();
    FakeBackend host(made.os);
    const Segment of_host =
        host.create(SegmentUri::parse("fake:pool").value(), {.payload_bytes = 4096}).value();
    return SegmentPool::over(reader).error().code() == Code::failed_precondition &&
           SegmentPool::over(of_host).error().code() == Code::unsupported;
  }));
}

}  // namespace
}  // namespace strata::inline v0_1::interop
