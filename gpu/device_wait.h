// Waiting for what a device does, with a deadline: the driver's own waits have none.
//   Threads:  any.
//   Errors:   timed_out once the deadline has passed: what was begun goes on, and nothing that
//             takes part in it may be freed or unmapped before a later wait for it has succeeded.
//             Else as the driver's, which may be those of earlier work.
//   Cost:     a call of the driver for each look (gpu/poll.h).
// Some waits are the driver's own, and end when it says so: cuCtxSynchronize, since no call asks a
// context whether it is idle (CudaPayload::settle); cuMemcpyDtoH and cuMemcpyHtoD of what is short
// (gpu/staging.h); and what frees or unregisters memory, which may wait for all streams first
// (cuMemFree, cuMemFreeHost, cuMemHostUnregister).
#pragma once

#include <cstdint>
#include <string_view>

#include "strata/base/result.h"
#include "strata/gpu/device.h"
#include "strata/os/deadline.h"

namespace strata::inline v0_1::cuda {

// How long the host waits at most for a device to come further, where the caller names no other
// time. Long: a kernel that somebody has queued before may well run for some seconds.
inline constexpr std::uint64_t kStallMs = 60'000;

// `what` is under way, for the error: "zeroing its memory".
Result<void> await_event(const Device& device, CuEvent event, Deadline deadline,
                         std::string_view what);
// All that is in the stream by now, whatever others add to it meanwhile. The context of the device
// is current.
Result<void> await_queued(const Device& device, CuStream stream, Deadline deadline,
                          std::string_view what);
// Until the stream is idle: for one that nobody adds to. The context of the device is current.
Result<void> await_stream(const Device& device, CuStream stream, Deadline deadline,
                          std::string_view what);

}  // namespace strata::inline v0_1::cuda
