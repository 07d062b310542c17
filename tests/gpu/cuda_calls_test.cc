// How often an operation on device memory calls the driver: a cost that is the same on any device.

#include <cstdio>
#include <functional>
#include <optional>
#include <sstream>

#include "tests/catch.h"
#include "tests/gpu/cuda_world.h"
#include "tests/gpu/told_by_child.h"
#include "tests/skip.h"

using namespace strata;
using namespace strata::test;

namespace {

const SegmentUri kUri{"cuda", {}, "mesh"};
const SegmentUri kOther{"cuda", {}, "other"};
using Calls = std::map<std::string, std::uint64_t>;

std::string text_of(const Calls& calls) {
  std::ostringstream text;
  for (const auto& [name, count] : calls)
    text << (text.tellp() == 0 ? "" : " ") << name << ":" << count;
  return text.str();
}

// The calls of `body` alone. In a child that has the driver.
std::string calls_of(const std::function<void()>& body) {
  const Calls before = driver_calls();
  body();
  Calls calls = driver_calls();
  for (const auto& [name, count] : before) {
    if (calls[name] == count) {
      calls.erase(name);
    } else {
      calls[name] -= count;
    }
  }
  return text_of(calls);
}
}  // namespace

TEST_CASE("operations_on_device_memory_call_the_driver_this_often") {
  if (!is_driver_fake()) SKIP_TEST("only the fake driver counts its calls");
  CudaWorld world;
  const std::string told = told_by_child([&]() -> std::string {
    RealOs os;
    CudaBackend backend(os, world.options());
    // What is done once in a process is done: the driver is loaded, the mechanism tried.
    Segment first = backend.create(kUri, device_segment()).value();
    std::optional<Segment> second;
    second.emplace(backend.attach(kUri, {}).value());
    second.reset();
    std::vector<std::byte> small(4096);
    std::string text;
    const auto tell = [&](const std::string& what, const std::function<void()>& body) {
      text += what + ": " + calls_of(body) + "\n";
    };
    tell("create", [&] { second.emplace(backend.create(kOther, device_segment()).value()); });
    tell("remove with the last", [&] { second.reset(); });
    tell("create to be filled", [&] {
      CreateOptions options = device_segment();
      options.device.is_filled_by_creator = true;
      second.emplace(backend.create(kOther, options).value());
    });
    second.reset();
    tell("attach", [&] { second.emplace(backend.attach(kUri, {}).value()); });
    tell("detach", [&] { second.reset(); });
    tell("read", [&] { REQUIRE(first.read(0, small)); });
    tell("write", [&] { REQUIRE(first.write(0, small)); });
    tell("settle", [&] { REQUIRE(first.settle()); });
    tell("device_bytes", [&] { (void)first.device_bytes().value(); });
    tell("handle", [&] { (void)first.handle().value(); });
    tell("stat and list", [&] {
      (void)backend.stat(kUri).value();
      (void)backend.list({}).value();
    });
    tell("gc", [&] { (void)backend.reclaim({}, {}).value(); });
    return text;
  });
  // What is pushed is popped, and what is made is released; a second way would be seen here.
  CHECK(told ==
        "create: cuCtxGetDevice:1 cuCtxPopCurrent:3 cuCtxPushCurrent:3 cuCtxSynchronize:1 "
        "cuMemAddressReserve:1 cuMemCreate:1 cuMemExportToShareableHandle:1 "
        "cuMemGetAllocationGranularity:1 cuMemMap:1 cuMemRelease:1 cuMemSetAccess:1 "
        "cuMemsetD8Async:1 cuStreamCreate:1 cuStreamDestroy:1 cuStreamQuery:1\n"
        "remove with the last: cuMemAddressFree:1 cuMemUnmap:1\n"
        "create to be filled: cuCtxGetDevice:1 cuCtxPopCurrent:2 cuCtxPushCurrent:2 "
        "cuCtxSynchronize:1 cuMemAddressReserve:1 cuMemCreate:1 cuMemExportToShareableHandle:1 "
        "cuMemGetAllocationGranularity:1 cuMemMap:1 cuMemRelease:1 cuMemSetAccess:1\n"
        "attach: cuCtxPopCurrent:1 cuCtxPushCurrent:1 cuMemAddressReserve:1 "
        "cuMemImportFromShareableHandle:1 cuMemMap:1 cuMemRelease:1 cuMemSetAccess:1\n"
        "detach: cuMemAddressFree:1 cuMemUnmap:1\n"
        "read: cuCtxPopCurrent:1 cuCtxPushCurrent:1 cuMemcpyDtoH:1\n"
        "write: cuCtxPopCurrent:1 cuCtxPushCurrent:1 cuMemcpyHtoD:1\n"
        "settle: cuCtxPopCurrent:1 cuCtxPushCurrent:1 cuCtxSynchronize:1\n"
        "device_bytes: \n"
        "handle: \n"
        "stat and list: \n"
        "gc: \n");
}
