#include "gpu/device_wait.h"

#include <fmt/format.h>

#include "gpu/driver.h"
#include "gpu/poll.h"
#include "os/os.h"

namespace strata::inline v0_1::cuda {
namespace {

template <typename Query>
Result<void> await(const Device& device, Deadline deadline, std::string_view what,
                   std::string_view call, Query query) {
  RealOs os;
  Poll poll(os, deadline);
  while (true) {
    const CuResult state = query();
    if (state != kNotReady) return device.driver().check(state, call);
    if (poll.expired()) {
      return fail(Code::timed_out,
                  fmt::format("{}: {} has not ended yet, or waits for what is queued before it: it "
                              "goes on, and nothing that takes part in it may be freed before",
                              device.describe(), what));
    }
    poll.pause();
  }
}

}  // namespace

Result<void> await_event(const Device& device, CuEvent event, Deadline deadline,
                         std::string_view what) {
  return await(device, deadline, what, "cuEventQuery",
               [&] { return device.driver().call().cuEventQuery(event); });
}

Result<void> await_queued(const Device& device, CuStream stream, Deadline deadline,
                          std::string_view what) {
  const Driver& driver = device.driver();
  CuEvent here = nullptr;
  STRATA_TRY(STRATA_CUDA(driver, cuEventCreate, &here, kEventDisableTiming));
  const CuResult recorded = driver.call().cuEventRecord(here, stream);
  auto done = driver.check(recorded, "cuEventRecord");
  if (done) done = await_event(device, here, deadline, what);
  // A stream of another context than the event's.
  if (recorded == kInvalidHandle) done = await_stream(device, stream, deadline, what);
  // The driver keeps it until it has passed.
  (void)driver.call().cuEventDestroy(here);
  return done;
}

Result<void> await_stream(const Device& device, CuStream stream, Deadline deadline,
                          std::string_view what) {
  return await(device, deadline, what, "cuStreamQuery",
               [&] { return device.driver().call().cuStreamQuery(stream); });
}

}  // namespace strata::inline v0_1::cuda
