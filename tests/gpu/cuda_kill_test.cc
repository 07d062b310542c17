// A process is killed at every system call, and at every call of the driver, of every operation on
// "cuda:" segments. Whatever it was doing, others keep their memory and are not held up; gc finds
// what it left and nothing else; no name, no byte of a device and no process stays behind.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>

#include "os/fault_os.h"
#include "tests/catch.h"
#include "tests/child.h"
#include "tests/gpu/cuda_operations.h"
#include "tests/gpu/told_by_child.h"
#include "tests/skip.h"
#include "tests/verified.h"

using namespace strata;
using namespace strata::test;

namespace {

// Where a process is killed: at the n-th call to the kernel, or to the driver.
enum class Door : std::uint8_t { kernel, driver };
struct Point {
  Door door;
  std::uint64_t n;
};

struct Killing {
  CudaWorld world;
  std::unique_ptr<Keeper> live = world.keep_new(kLive, device_segment());
  std::vector<std::string> names;
  std::uint64_t device_bytes = 0;

  Killing() {
    REQUIRE(live->failure().empty());
    names = world.listing();
    device_bytes = world.device_bytes();
  }

  // The wait status of a process that runs the operation and is to be killed.
  int run(const CudaOperation& operation, const Point& point) {
    return in_child([&] {
      FaultOs os;
      (void)os.identity();
      os.reset();
      if (point.door == Door::kernel) {
        os.kill_at(point.n);
      } else {
        const std::string plan = "*:" + std::to_string(point.n) + ":killed";
        setenv("STRATA_FAKE_CUDA_FAIL", plan.c_str(), 1);
      }
      {
        CudaBackend backend(os, world.options());
        (void)operation.run(backend);
      }
      _exit(0);  // not killed: it has fewer calls
    });
  }

  // What a process meets that comes afterwards.
  std::string look(const CudaOperation& operation) {
    return told_by_child([&]() -> std::string {
      RealOs os;
      CudaBackend backend(os, world.options());
      const auto live_again = backend.attach(kLive, {.access = Access::read_only});
      if (!live_again) return live_again.error().to_string();
      if (const auto wrong = difference_from_pattern(*live_again); !wrong.empty())
        return "live: " + wrong;
      const auto target = backend.attach(kTarget, {.timeout_ms = 2000});
      if (target) return difference_from_pattern(*target);
      const auto& allowed = operation.allowed;
      if (std::find(allowed.begin(), allowed.end(), target.error().code()) != allowed.end())
        return {};
      return target.error().to_string();
    });
  }

  // gc, in a process without a driver, leaves what is live and nothing else.
  void clean_up() {
    REQUIRE(world.tools.reclaim({}, {}));
    const auto decisions = world.tools.reclaim({}, {}).value();
    for (const ReclaimDecision& decision : decisions) {
      INFO(decision.uri.to_string() << ": " << decision.evidence);
      REQUIRE(!decision.is_orphan);
    }
    if (world.tools.stat(kTarget)) {
      const auto removed = world.tools.remove(kTarget, {});
      if (!removed) FAIL(removed.error().to_string());
    }
    REQUIRE(world.listing() == names);
  }

  // No byte of the device is lost, and the name can be used again.
  std::string create_again() {
    return told_by_child([&]() -> std::string {
      const auto bytes = device_bytes_here(world.options());
      if (!bytes) return bytes.error().to_string();
      if (*bytes != device_bytes) return std::to_string(*bytes) + " bytes of the device are taken";
      RealOs os;
      CudaBackend backend(os, world.options());
      const auto made = create_filled(backend, kTarget, device_segment());
      return made ? "" : made.error().to_string();
    });
  }

  // Whether the process was killed at that point.
  bool try_point(const CudaOperation& operation, const Point& point) {
    auto keeper = operation.prepare(world);
    const int status = run(operation, point);
    INFO(operation.name << ", killed at call " << point.n << " to the "
                        << (point.door == Door::kernel ? "kernel" : "driver"));
    REQUIRE((was_killed(status) || status == 0));
    REQUIRE(look(operation) == "");
    REQUIRE(live->check() == "");
    if (keeper) keeper->kill();
    clean_up();
    REQUIRE(create_again() == "");
    clean_up();
    return was_killed(status);
  }
};

// Every point of every operation.
std::uint64_t kill_everywhere(Door door) {
  std::uint64_t points = 0;
  for (const CudaOperation& operation : cuda_operations()) {
    Killing killing;
    std::uint64_t of_this = 0;
    // A thread that serves makes calls of its own, so that no two runs have quite the same number:
    // the end is where several points in a row are not reached.
    constexpr std::uint64_t kUnreached = 3;
    for (std::uint64_t n = 1, unreached = 0; unreached < kUnreached; ++n) {
      const bool is_reached = killing.try_point(operation, {door, n});
      of_this += is_reached ? 1 : 0;
      unreached = is_reached ? 0 : unreached + 1;
    }
    REQUIRE((of_this > 0) == (door == Door::kernel || operation.needs_driver));
    REQUIRE(killing.live->end() == "");
    std::printf("%s: killed at %llu calls\n", operation.name.c_str(),
                static_cast<unsigned long long>(of_this));
    points += of_this;
  }
  return points;
}

// For a machine on which a process takes a second to start its driver: as many points as there is
// time for, anywhere.
std::uint64_t kill_anywhere(const TimeBudget& budget) {
  std::mt19937 random(random_seed());
  const std::vector<CudaOperation> operations = cuda_operations();
  Killing killing;
  std::uint64_t points = 0;
  while (!budget.is_spent()) {
    const CudaOperation& operation = operations[random() % operations.size()];
    if (killing.try_point(operation, {Door::kernel, 1 + random() % 80})) ++points;
  }
  REQUIRE(killing.live->end() == "");
  return points;
}

}  // namespace

TEST_CASE("a_kill_at_any_call_to_the_kernel_leaves_no_trace_and_harms_nobody") {
  const TimeBudget budget;
  report_verified(budget.is_limited() ? kill_anywhere(budget) : kill_everywhere(Door::kernel),
                  "kill points of device segments, at calls to the kernel");
}

TEST_CASE("a_kill_at_any_call_to_the_driver_leaves_no_trace_and_harms_nobody") {
  if (!is_driver_fake()) SKIP_TEST("only the fake driver kills at a call of its own");
  report_verified(kill_everywhere(Door::driver),
                  "kill points of device segments, at calls to the driver");
}
