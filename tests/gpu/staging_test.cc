// Bytes between host and device through pinned buffers. The driver is a fake one: it proves which
// calls are made, what is left when they fail, and that the bytes are the same; nothing about
// speed.
#include "gpu/staging.h"

#include <atomic>
#include <thread>
#include <vector>

#include "tests/catch.h"
#include "tests/gpu/move_testing.h"

using namespace strata;
using namespace strata::cuda;
using namespace strata::test;

TEST_CASE("bytes_pass_the_ring_unchanged_at_every_size_and_offset") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_device("x");
    const auto content = pattern(kBytes);
    for (const std::uint64_t size :
         {std::uint64_t{1}, KiB(4) + 1, StagingRing::kDirectBytes, StagingRing::kDirectBytes + 1,
          MiB(2) - 1, MiB(2), MiB(2) + 1, MiB(16), MiB(17) + 3}) {
      for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1}, MiB(3) - 7}) {
        must(segment.write(0, std::vector<std::byte>(kBytes)));
        must(segment.write(offset, std::span(content).first(size)));
        std::vector<std::byte> got(size + 1);
        must(segment.read(offset, got));
        STRATA_CHECK(std::equal(got.begin(), got.end() - 1, content.begin()));
        STRATA_CHECK(got.back() == std::byte{0});
      }
    }
    return true;
  }));
}

TEST_CASE("threads_share_the_ring_and_each_gets_its_own_bytes") {
  Machine machine;
  machine.fake.set("DELAY_US", "20");
  CHECK(child_says([&] {
    Process self(machine);
    std::vector<Segment> segments;
    for (int i = 0; i < 6; ++i)
      segments.push_back(self.on_device("x" + std::to_string(i), 0, MiB(7)));
    std::vector<std::jthread> threads;
    std::atomic<int> good{0};
    for (unsigned i = 0; i < 6; ++i) {
      threads.emplace_back([&, i] {
        const auto content = pattern(MiB(7), i);
        for (int round = 0; round < 3; ++round) {
          must(segments[i].write(0, content));
          if (bytes_of(segments[i]) == content) good += 1;
        }
      });
    }
    threads.clear();
    const auto ring = StagingRing::of(self.device());
    return good == 18 && ring->buffers().pinned_bytes() <= MiB(16);
  }));
}

TEST_CASE("a_copy_costs_the_calls_that_it_says") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_device("x");
    std::vector<std::byte> content(MiB(6));
    must(segment.read(0, content));  // makes buffers and stream
    must(segment.write(0, content));
    const auto cost = [&](auto work) {
      const std::uint64_t before = fake_calls("*");
      work();
      return fake_calls("*") - before;
    };
    const std::span<std::byte> small = std::span(content).first(KiB(64));
    STRATA_CHECK(cost([&] { must(segment.read(0, small)); }) == 3);
    STRATA_CHECK(cost([&] { must(segment.write(0, small)); }) == 3);
    STRATA_CHECK(cost([&] { must(segment.read(0, content)); }) == 6 + 3 * 3);
    STRATA_CHECK(cost([&] { must(segment.write(0, content)); }) == 6 + 3 * 3);
    STRATA_CHECK(cost([&] { must(segment.read(0, {})); }) == 0);
    return true;
  }));
}

TEST_CASE("a_ring_whose_calls_fail_goes_on_and_keeps_no_pinned_memory_at_its_end") {
  const Machine machine;
  CHECK(child_says([&] {
    Process self(machine);
    Segment segment = self.on_device("x", 0, MiB(9));
    const auto content = pattern(MiB(9));
    must(segment.write(0, content));
    const CuDevicePointer address = must(segment.device_bytes()).address;
    std::int64_t failed_allocations = 0;
    const std::int64_t before = calls("cuMemHostAlloc") - calls("cuMemFreeHost");
    const int count = fail_each_call(
        [&]() -> Result<void> {
          StagingRing ring(self.device());
          std::vector<std::byte> got(content.size());
          auto done = ring.copy_to_host(address, got);
          if (done && got != content) done = fail(Code::internal, "other bytes");
          // Of what gives the memory back nobody hears.
          forget_fake_failures();
          if (!done) {
            if (done.error().message().find("cuMemHostAlloc") != std::string::npos)
              failed_allocations += 1;
            // It is as good as before.
            must(ring.copy_to_host(address, got));
            must(ring.copy_to_device(address, content));
            STRATA_CHECK(got == content);
          }
          return done;
        },
        [](const auto&) {});
    STRATA_CHECK(calls("cuMemHostAlloc") - calls("cuMemFreeHost") - failed_allocations == before);
    return count > 20 && failed_allocations >= 5;
  }));
}
