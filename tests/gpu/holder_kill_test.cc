// A holder is killed at every call to the kernel, while others attach; and whoever creates a
// segment that is to be held is killed at every call to the kernel and to the driver. Nobody hangs,
// nobody who has the memory loses it, and gc finds what was left and nothing else.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "gpu/holder.h"
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

// A killed process's descriptors are closed, and a holder ends, in their own time.
void await(const std::function<bool()>& is_so) {
  while (!is_so())
    usleep(500);
}

struct Holding {
  CudaWorld world;
  std::vector<std::string> names = world.listing();

  CudaOptions options() const {
    CudaOptions options = world.options();
    options.holder_command = {"gpu/holder_fixture", options.directory, options.device_directory};
    return options;
  }

  // Holds the target until it is removed, as `strata gpu hold` does.
  pid_t start_holder(std::uint64_t kill_at) {
    return start_child([&] {
      FaultOs os;
      (void)os.identity();
      os.reset();
      os.kill_at(kill_at);
      const CudaOptions where = options();
      cuda::DescriptorServer server(os, where.directory);
      std::vector<std::unique_ptr<cuda::SegmentHolder>> holders;
      auto held = cuda::SegmentHolder::hold(os, server,
                                            {.directory = where.directory,
                                             .device_directory = where.device_directory,
                                             .timeout_ms = 60'000},
                                            kTarget);
      if (!held) {
        std::fprintf(stderr, "%s\n", held.error().to_string().c_str());
        return 1;
      }
      holders.push_back(std::move(*held));
      return cuda::keep_until_over(os, holders, -1) ? 0 : 2;
    });
  }

  // Nothing where it attaches and finds the bytes, else the code of the refusal or what is wrong.
  std::string consume() {
    return told_by_child([&]() -> std::string {
      RealOs os;
      CudaBackend backend(os, world.options());
      const auto target = backend.attach(kTarget, {.timeout_ms = 60'000});
      if (!target) return std::string(code_name(target.error().code()));
      return difference_from_pattern(*target);
    });
  }

  // Without a driver.
  void clean_up() {
    REQUIRE(world.tools.reclaim({}, {}));
    // A holder that is only just starting cannot be asked to leave yet.
    await([&] {
      if (!world.tools.stat(kTarget)) return true;
      const auto removed = world.tools.remove(kTarget, {});
      if (!removed && removed.error().code() != Code::failed_precondition)
        FAIL(removed.error().to_string());
      return removed.has_value();
    });
    await([&] {
      REQUIRE(world.tools.reclaim({}, {}));
      try {
        return world.listing() == names;
      } catch (const std::filesystem::filesystem_error&) {
        return false;  // a name went while it was listed
      }
    });
    await([&] { return world.device_bytes() == 0; });
  }

  // Whether the holder was killed at its n-th call.
  bool try_holder(std::uint64_t n) {
    INFO("the holder is killed at call " << n);
    auto keeper = world.keep_new(kTarget, device_segment());
    REQUIRE(keeper->failure() == "");
    const pid_t holder = start_holder(n);
    // While it starts, and while it holds: there is somebody who has the memory.
    REQUIRE(consume() == "");
    REQUIRE(keeper->check() == "");
    const bool is_held = [&] {
      while (true) {
        if (world.tools.stat(kTarget).value().device->is_held) return true;
        siginfo_t ended{};
        waitid(P_PID, static_cast<id_t>(holder), &ended, WEXITED | WNOHANG | WNOWAIT);
        if (ended.si_pid == holder) return false;
        usleep(500);
      }
    }();
    REQUIRE(keeper->end() == "");
    const std::string told = consume();
    // Where it was killed nobody has the memory, or its header went with the last who knew of it.
    const bool is_gone = told == "not_found" || told == "failed_precondition";
    REQUIRE((told.empty() ? is_held : is_gone));
    clean_up();
    const int status = wait_for(holder);
    REQUIRE((was_killed(status) || status == 0));
    if (!told.empty()) REQUIRE(was_killed(status));
    return was_killed(status);
  }

  // Whether the creator was killed there.
  bool try_creator(const std::string& door, std::uint64_t n) {
    INFO("the creator is killed at call " << n << " to the " << door);
    const int status = in_child([&] {
      FaultOs os;
      (void)os.identity();
      os.reset();
      if (door == "kernel") os.kill_at(n);
      const std::string plan = "*:" + std::to_string(n) + ":killed";
      if (door == "driver") setenv("STRATA_FAKE_CUDA_FAIL", plan.c_str(), 1);
      CreateOptions wanted = device_segment();
      wanted.lifetime = Lifetime::until_removed;
      {
        CudaBackend backend(os, options());
        (void)create_filled(backend, kTarget, wanted);
      }
      _exit(0);
    });
    REQUIRE((was_killed(status) || status == 0));
    const std::string told = consume();
    const bool was_never_published =
        told == "not_found" || told == "not_ready" || told == "failed_precondition";
    REQUIRE((told.empty() || (was_never_published && was_killed(status))));
    clean_up();
    return was_killed(status);
  }
};

// Until several points in a row are not reached: threads make calls of their own, so that no two
// runs have quite the same number.
std::uint64_t each_point(const std::function<bool(std::uint64_t)>& is_reached) {
  constexpr std::uint64_t kUnreached = 3;
  std::uint64_t points = 0;
  for (std::uint64_t n = 1, unreached = 0; unreached < kUnreached; ++n) {
    const bool reached = is_reached(n);
    points += reached ? 1 : 0;
    unreached = reached ? 0 : unreached + 1;
  }
  return points;
}

}  // namespace

TEST_CASE("a_holder_that_is_killed_anywhere_holds_nobody_up_and_leaves_nothing") {
  if (!is_driver_fake()) SKIP_TEST("on the fake driver alone, which starts in no time");
  Holding holding;
  const std::uint64_t points = each_point([&](std::uint64_t n) { return holding.try_holder(n); });
  CHECK(points > 30);
  report_verified(points, "kill points of holders");
}

TEST_CASE("a_creator_that_is_killed_anywhere_leaves_what_is_held_whole_and_nothing_else") {
  if (!is_driver_fake()) SKIP_TEST("only the fake driver kills at a call of its own");
  Holding holding;
  std::uint64_t points = 0;
  for (const char* const door : {"kernel", "driver"}) {
    const std::uint64_t of_door =
        each_point([&](std::uint64_t n) { return holding.try_creator(door, n); });
    CHECK(of_door > 10);
    points += of_door;
  }
  report_verified(points, "kill points of creators of what is held");
}
