// The kernels as a program launches them: on the fake driver, each case in a child of its own.
#include "strata/gpu/kernels.h"

#include <cstring>
#include <random>

#include "base/long_hash.h"
#include "gpu/device_memory.h"
#include "gpu/driver.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/fake_cuda/fake_cuda.h"

namespace strata::inline v0_1::cuda {
namespace {

Deadline in_two_minutes() { return Deadline::after_ms(120'000); }

// What a child does with the first device, and whether all that it looked at was right.
struct Bench {
  Bench() : devices(Devices::load(test::fake_driver_path()).value()) {}

  DeviceSpan memory(std::uint64_t bytes) {
    auto scope = device().enter().value();
    DeviceSpan span{.bytes = bytes};
    STRATA_CHECK(device().driver().call().cuMemAlloc(&span.address, bytes) == kSuccess);
    return span;
  }
  DeviceSpan holding(std::span<const std::byte> bytes) {
    const DeviceSpan span = memory(bytes.size());
    auto scope = device().enter().value();
    STRATA_CHECK(device().driver().call().cuMemcpyHtoD(span.address, bytes.data(), bytes.size()) ==
                 kSuccess);
    return span;
  }
  std::vector<std::byte> content(const DeviceSpan& span) {
    std::vector<std::byte> bytes(span.bytes);
    auto scope = device().enter().value();
    STRATA_CHECK(device().driver().call().cuMemcpyDtoH(bytes.data(), span.address, span.bytes) ==
                 kSuccess);
    return bytes;
  }
  Device& device() { return *devices->all().front(); }
  std::shared_ptr<Kernels> kernels() { return Kernels::of(device()).value(); }

  std::shared_ptr<Devices> devices;
};

std::vector<std::byte> random_bytes(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes)
    byte = static_cast<std::byte>(random());
  return bytes;
}

TEST_CASE("checksums_and_hash_of_device_memory_are_those_of_the_host_for_every_kind_of_rest") {
  const test::FakeDevices fake;
  CHECK(test::child_says([] {
    Bench bench;
    constexpr std::size_t kBlock = 64 * 1024;
    bool is_right = true;
    for (const std::size_t size : {std::size_t{1}, std::size_t{240}, std::size_t{241}, kBlock - 1,
                                   kBlock, kBlock + 1, kBlock + 240, kBlock + 241, 3 * kBlock}) {
      const std::vector<std::byte> bytes = random_bytes(size, 11);
      const DeviceSpan span = bench.holding(bytes);
      const auto sums = bench.kernels()->block_checksums(span, kBlock, nullptr, in_two_minutes());
      const auto hash = bench.kernels()->content_hash(span, nullptr, in_two_minutes());
      is_right = is_right && sums && hash && *hash == content_hash(bytes);
      if (!is_right) break;
      const std::span<const std::byte> all(bytes);
      is_right = sums->size() == (size + kBlock - 1) / kBlock;
      for (std::size_t i = 0; is_right && i < sums->size(); ++i) {
        const auto block = all.subspan(i * kBlock, std::min(kBlock, size - i * kBlock));
        is_right = (*sums)[i] == hash_long(block);
      }
      if (!is_right) break;
    }
    return is_right;
  }));
}

TEST_CASE("no_bytes_have_no_checksums_and_the_hash_of_nothing") {
  const test::FakeDevices fake;
  CHECK(test::child_says([] {
    Bench bench;
    const auto sums = bench.kernels()->block_checksums({}, 4096, nullptr, in_two_minutes());
    const auto hash = bench.kernels()->content_hash({}, nullptr, in_two_minutes());
    return sums && sums->empty() && hash && *hash == content_hash({}) &&
           bench.kernels()->fill({}, 1, nullptr).has_value() &&
           bench.kernels()->find_difference({}, {}, nullptr, in_two_minutes()).value() ==
               std::nullopt;
  }));
}

TEST_CASE("fill_and_find_difference_agree_about_every_byte") {
  const test::FakeDevices fake;
  CHECK(test::child_says([] {
    Bench bench;
    constexpr std::size_t kBytes = 1'000'003;
    const DeviceSpan a = bench.memory(kBytes);
    if (!bench.kernels()->fill(a, 0x0706050403020100ULL, nullptr)) return false;
    std::vector<std::byte> expected(kBytes);
    for (std::size_t i = 0; i < kBytes; ++i)
      expected[i] = static_cast<std::byte>(i % 8);
    if (bench.content(a) != expected) return false;
    const DeviceSpan b = bench.holding(expected);
    if (bench.kernels()->find_difference(a, b, nullptr, in_two_minutes()).value()) return false;
    for (const std::size_t at : {kBytes - 1, kBytes - 4, kBytes / 2, std::size_t{0}}) {
      expected[at] ^= std::byte{1};
      const DeviceSpan other = bench.holding(expected);
      if (bench.kernels()->find_difference(a, other, nullptr, in_two_minutes()).value() != at)
        return false;
    }
    return true;
  }));
}

TEST_CASE("what_kernels_cannot_do_is_refused_before_the_driver_is_asked") {
  const test::FakeDevices fake;
  CHECK(test::child_says([] {
    Bench bench;
    const auto code = [](const auto& result) { return result.error().code(); };
    DeviceSpan odd = bench.memory(4096);
    odd.address += 4;
    odd.bytes = 64;
    const DeviceSpan longer{.address = odd.address - 4, .bytes = 65};
    const std::shared_ptr<Kernels> kernels = bench.kernels();
    const Deadline soon = in_two_minutes();
    return code(kernels->fill(odd, 0, nullptr)) == Code::invalid_argument &&
           code(kernels->content_hash(odd, nullptr, soon)) == Code::invalid_argument &&
           code(kernels->find_difference(longer, odd, nullptr, soon)) == Code::invalid_argument &&
           code(kernels->block_checksums(longer, 1000, nullptr, soon)) == Code::invalid_argument &&
           code(kernels->block_checksums(longer, 1028, nullptr, soon)) == Code::invalid_argument;
  }));
}

TEST_CASE("a_driver_without_modules_has_no_kernels") {
  test::FakeDevices fake;
  fake.set("WITHOUT", "cuLaunchKernel");
  CHECK(test::child_says([] {
    Bench bench;
    const auto kernels = Kernels::of(bench.device());
    return !kernels && kernels.error().code() == Code::unsupported;
  }));
}

TEST_CASE("a_stream_that_is_not_done_by_the_deadline_times_out_and_later_results_are_right") {
  test::FakeDevices fake;
  fake.set("DELAY_US", "200000");
  CHECK(test::child_says([] {
    Bench bench;
    const std::vector<std::byte> bytes = random_bytes(5000, 3);
    const DeviceSpan span = bench.holding(bytes);
    const auto late = bench.kernels()->content_hash(span, nullptr, Deadline::after_ms(0));
    if (late || late.error().code() != Code::timed_out) return false;
    const auto hash = bench.kernels()->content_hash(span, nullptr, in_two_minutes());
    return hash && *hash == content_hash(bytes);
  }));
}

TEST_CASE("every_failed_call_is_an_error_and_costs_no_device_memory") {
  const test::FakeDevices fake;
  CHECK(test::child_says([] {
    Bench bench;
    const std::vector<std::byte> bytes = random_bytes(5000, 4);
    const DeviceSpan span = bench.holding(bytes);
    const std::shared_ptr<Kernels> kernels = bench.kernels();
    const auto hash = [&] { return kernels->content_hash(span, nullptr, in_two_minutes()); };
    for (const std::string name :
         {"cuMemAlloc", "cuMemHostAlloc", "cuEventCreate", "cuCtxPushCurrent", "cuLaunchKernel"}) {
      const std::uint64_t free_before = bench.device().free_bytes().value();
      test::fail_fake_call(name, 1, kOutOfMemory);
      const auto failed = hash();
      test::forget_fake_failures();
      if (failed || failed.error().code() != Code::exhausted) return false;
      // A launch that failed leaves its scratch to the next one.
      if (name != "cuLaunchKernel" && bench.device().free_bytes().value() != free_before)
        return false;
    }
    const auto found = hash();
    return found && *found == content_hash(bytes);
  }));
}

TEST_CASE("a_forked_child_cannot_use_kernels_and_ends_quietly") {
  const test::FakeDevices fake;
  CHECK(test::child_says([] {
    Bench bench;
    const DeviceSpan span = bench.memory(4096);
    const std::shared_ptr<Kernels> kernels = bench.kernels();
    return test::child_says([&] {
      const auto hash = kernels->content_hash(span, nullptr, in_two_minutes());
      return !hash && hash.error().code() == Code::failed_precondition;
    });
  }));
}

}  // namespace
}  // namespace strata::inline v0_1::cuda
