// Each call to the driver, and each to the kernel, of every operation on "cuda:" segments fails
// once, in turn. What comes out is a typed error, or success where the call does not matter;
// nothing is left behind, and the same process then does the same again and succeeds.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "os/fault_os.h"
#include "tests/catch.h"
#include "tests/gpu/cuda_operations.h"
#include "tests/gpu/told_by_child.h"
#include "tests/skip.h"
#include "tests/verified.h"

using namespace strata;
using namespace strata::test;

namespace {

constexpr std::array kResults = {1, 2, 3, 4, 100, 101, 201, 214, 700, 800, 801, 999};
constexpr std::array kErrnos = {EIO, EMFILE, ENOSPC, EACCES};

// What a child tells of a failure that came out as an error.
constexpr const char* kError = "error";

struct DriverCall {
  std::string name;
  std::uint64_t nth;
};

struct Failing {
  CudaWorld world;
  std::vector<std::string> names = world.listing();
  std::uint64_t points = 0;
  std::uint64_t errors = 0;

  // In the process whose calls fail.
  std::string run_twice(const CudaOperation& operation, Os& os, int driver_result) {
    CudaBackend backend(os, world.options());
    const auto failed = operation.run(backend);
    if (failed) return {};
    const Status& status = failed.error();
    if (status.message().empty()) return "an error without a message";
    if (driver_result != 0 && status.driver_result() != driver_result)
      return "the driver's answer is lost: " + status.to_string();
    // Whatever it was, it is over.
    const auto again = operation.run(backend);
    if (!again) return status.to_string() + "; and again: " + again.error().to_string();
    return kError;
  }

  void try_point(const CudaOperation& operation, const std::function<std::string()>& body) {
    auto keeper = operation.prepare(world);
    const std::string told = told_by_child(body);
    if (told != kError) REQUIRE(told == "");
    if (keeper) REQUIRE(keeper->check() == "");
    keeper.reset();
    REQUIRE(world.tools.reclaim({}, {}));
    if (world.tools.stat(kTarget)) REQUIRE(world.tools.remove(kTarget, {}));
    REQUIRE(world.listing() == names);
    REQUIRE(world.device_bytes() == 0);
    ++points;
    errors += told == kError ? 1 : 0;
  }

  // The calls of the operation when nothing goes wrong, from the loading of the driver on.
  std::vector<DriverCall> driver_calls_of(const CudaOperation& operation) {
    std::vector<DriverCall> calls;
    auto keeper = operation.prepare(world);
    std::istringstream told(told_by_child([&] {
      RealOs os;
      {
        CudaBackend backend(os, world.options());
        const auto done = operation.run(backend);
        if (!done) return "FAILED " + done.error().to_string();
      }
      std::string text;
      for (const auto& [name, count] : driver_calls())
        text += name + " " + std::to_string(count) + "\n";
      return text;
    }));
    std::string name;
    std::uint64_t count = 0;
    while (told >> name >> count) {
      for (std::uint64_t nth = 1; nth <= count; ++nth)
        calls.push_back({name, nth});
    }
    INFO(operation.name << ": " << told.str());
    REQUIRE(told.eof());
    return calls;
  }

  void fail_driver_call(const CudaOperation& operation, const DriverCall& call, int result) {
    INFO(operation.name << ": result " << result << " of call " << call.nth << " of " << call.name);
    try_point(operation, [&] {
      const std::string plan =
          call.name + ":" + std::to_string(call.nth) + ":" + std::to_string(result);
      setenv("STRATA_FAKE_CUDA_FAIL", plan.c_str(), 1);
      RealOs os;
      return run_twice(operation, os, result);
    });
  }

  // Whether the operation had so many calls.
  bool fail_kernel_call(const CudaOperation& operation, std::uint64_t n, int sys_errno) {
    bool is_reached = false;
    INFO(operation.name << ": errno " << sys_errno << " of call " << n);
    auto* const reached = static_cast<std::atomic<bool>*>(static_cast<void*>(
        world.os.mmap({.bytes = kPageBytes, .flags = MAP_SHARED | MAP_ANONYMOUS}).value()));
    try_point(operation, [&] {
      FaultOs os;
      (void)os.identity();
      os.reset();
      os.fail_at(n, sys_errno);
      std::string told = run_twice(operation, os, 0);
      reached->store(os.calls() >= n);
      return told;
    });
    is_reached = reached->load();
    (void)world.os.munmap(reached, kPageBytes);
    return is_reached;
  }

  void report(const std::string& what) const {
    std::printf("%llu of them came out as errors\n", static_cast<unsigned long long>(errors));
    report_verified(points, what);
  }
};

enum class Results : std::uint8_t { one_each, all };

void fail_driver_calls(Failing& failing, const CudaOperation& operation, Results which) {
  if (!operation.needs_driver) return;
  std::size_t turn = 0;
  for (const DriverCall& call : failing.driver_calls_of(operation)) {
    if (which == Results::one_each) {
      failing.fail_driver_call(operation, call, kResults[turn++ % kResults.size()]);
      continue;
    }
    for (const int result : kResults)
      failing.fail_driver_call(operation, call, result);
  }
}

constexpr const char* kDriverFailures = "failures of calls to the driver";
constexpr const char* kKernelFailures = "failures of calls to the kernel by device segments";

}  // namespace

TEST_CASE("a_call_to_the_driver_that_fails_is_told_and_leaves_all_as_it_was") {
  if (!is_driver_fake()) SKIP_TEST("only the fake driver fails when it is told to");
  Failing failing;
  for (const CudaOperation& operation : cuda_operations()) {
    const bool is_basic = operation.name == "create" || operation.name == "attach, read and write";
    fail_driver_calls(failing, operation, is_basic ? Results::all : Results::one_each);
  }
  failing.report(kDriverFailures);
}

TEST_CASE("a_call_to_the_kernel_that_fails_is_told_and_leaves_all_as_it_was") {
  if (!is_driver_fake()) SKIP_TEST("on the fake driver alone, which starts in no time");
  Failing failing;
  std::size_t turn = 0;
  for (const CudaOperation& operation : cuda_operations()) {
    for (std::uint64_t n = 1;; ++n) {
      if (!failing.fail_kernel_call(operation, n, kErrnos[turn++ % kErrnos.size()])) break;
    }
  }
  failing.report(kKernelFailures);
}

TEST_CASE("every_call_to_the_driver_fails_with_every_result", "[.all]") {
  Failing failing;
  for (const CudaOperation& operation : cuda_operations())
    fail_driver_calls(failing, operation, Results::all);
  failing.report(kDriverFailures);
}

TEST_CASE("every_call_to_the_kernel_fails_with_every_errno", "[.all]") {
  Failing failing;
  for (const CudaOperation& operation : cuda_operations()) {
    for (const int sys_errno : kErrnos) {
      for (std::uint64_t n = 1; failing.fail_kernel_call(operation, n, sys_errno);)
        ++n;
    }
  }
  failing.report(kKernelFailures);
}
