// Ten thousand times: create, attach, close. Descriptors, mappings and the bytes of the device are
// in the end what they were after the first hundred.

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/catch.h"
#include "tests/gpu/cuda_world.h"
#include "tests/gpu/told_by_child.h"
#include "tests/verified.h"

using namespace strata;
using namespace strata::test;

namespace {

constexpr std::uint64_t kCycles = 10'000;
constexpr std::uint64_t kFirst = 100;  // until what is kept for ever is there
// Of a heap that others than we use too.
constexpr std::size_t kMappingsOfTheHeap = 50;

struct Held {
  std::size_t descriptors;
  std::size_t mappings;
  std::size_t threads;
};

std::size_t count_in(const char* directory) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(directory), {}));
}

Held held_now() {
  std::ifstream maps("/proc/self/maps");
  std::size_t lines = 0;
  for (std::string line; std::getline(maps, line);)
    ++lines;
  return {count_in("/proc/self/fd"), lines, count_in("/proc/self/task")};
}

std::string text_of(const Held& held) {
  std::ostringstream text;
  text << held.descriptors << " descriptors, " << held.mappings << " mappings, " << held.threads
       << " threads";
  return text.str();
}

Result<void> one_cycle(Backend& backend, std::uint64_t n, DeviceMechanism mechanism) {
  const SegmentUri uri{"cuda", {}, "cycle" + std::to_string(n % 3)};
  CreateOptions options = device_segment();
  options.device.mechanism = mechanism;
  // Most of the time would go into zeros.
  options.device.is_filled_by_creator = n % 10 != 0;
  options.publish = options.device.is_filled_by_creator ? Publish::by_creator : Publish::at_once;
  STRATA_ASSIGN(Segment made, backend.create(uri, options));
  if (options.publish == Publish::by_creator) {
    STRATA_TRY(made.write(kTestBytes - 1, std::array<std::byte, 1>{}));
    STRATA_TRY(made.publish());
  }
  // In the process that has made it, an IPC handle cannot be opened.
  if (mechanism != DeviceMechanism::vmm_fd) return {};
  STRATA_ASSIGN(Segment attached, backend.attach(uri, {.access = Access::read_only}));
  std::byte last{1};
  STRATA_TRY(attached.read(kTestBytes - 1, std::span(&last, 1)));
  if (last != std::byte{0}) return fail(Code::corrupt, "a new segment is not zero");
  return {};
}

// How many cycles were made, or what was wrong.
std::string run_cycles(const CudaOptions& options, DeviceMechanism mechanism) {
  RealOs os;
  CudaBackend backend(os, options);
  const TimeBudget budget;
  Held first{};
  std::uint64_t n = 0;
  for (; n < kCycles && !(n > kFirst && budget.is_spent()); ++n) {
    if (n == kFirst) first = held_now();
    const auto done = one_cycle(backend, n, mechanism);
    if (!done) return "cycle " + std::to_string(n) + ": " + done.error().to_string();
  }
  const auto has_leaked = [&](const Held& held) {
    return held.descriptors > first.descriptors || held.threads > first.threads ||
           // The real driver keeps mappings as it likes.
           (is_driver_fake() && held.mappings > first.mappings + kMappingsOfTheHeap);
  };
  // The thread that serves closes its end of a conversation a moment after the other side.
  Held last = held_now();
  for (const auto deadline = Deadline::after_ms(60'000); has_leaked(last) && !deadline.expired();) {
    os.sleep_ns(10'000'000);
    last = held_now();
  }
  if (has_leaked(last)) return "at first " + text_of(first) + ", in the end " + text_of(last);
  return std::to_string(n);
}

void check_cycles(DeviceMechanism mechanism) {
  CudaWorld world;
  const std::string told = told_by_child([&] { return run_cycles(world.options(), mechanism); });
  INFO(told);
  REQUIRE(told.find_first_not_of("0123456789") == std::string::npos);
  CHECK(world.device_bytes() == 0);
  CHECK(world.listing().empty());
  report_verified(std::stoull(told), "cycles of create, attach and close of device memory");
}

}  // namespace

TEST_CASE("ten_thousand_segments_come_and_go_and_hold_nothing") {
  check_cycles(DeviceMechanism::vmm_fd);
}

TEST_CASE("ten_thousand_segments_by_cuda_ipc_come_and_go_and_hold_nothing") {
  check_cycles(DeviceMechanism::legacy_ipc);
}

TEST_CASE("device_bytes_do_not_grow_while_a_process_comes_and_goes") {
  CudaWorld world;
  const SegmentUri uri{"cuda", {}, "mesh"};
  const auto keeper = world.keep_new(uri, device_segment());
  REQUIRE(keeper->failure() == "");
  const std::uint64_t bytes = world.device_bytes();
  for (int i = 0; i < 20; ++i) {
    const auto other = world.keep_attached(uri, {.timeout_ms = 100'000});
    REQUIRE(other->failure() == "");
    CHECK(world.device_bytes() == bytes);
  }
  CHECK(world.device_bytes() == bytes);
}
