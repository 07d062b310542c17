// Why device memory is shared in the way that it is: the way that was chosen, those that were not,
// and the reasons, for people and for tables.
//   Threads:  any.
//   Errors:   see each function. A way that cannot be taken is no error: it is what was asked for.
//   Cost:     as check_mechanism(), of each mechanism.
#pragma once

#include <string>
#include <vector>

#include "gpu/cuda_backend.h"
#include "strata/base/result.h"

namespace strata::inline v0_1 {

struct ExplainedMechanism {
  DeviceMechanism mechanism = DeviceMechanism::automatic;
  bool is_chosen = false;
  bool is_possible = false;
  std::string why;
};

struct Explanation {
  std::string device;  // "device 0 (NVIDIA H100, GPU-…)"
  std::vector<ExplainedMechanism> mechanisms;
  std::vector<std::string> notes;  // what else decides: who hands the memory on, where it may go
};

// What a new segment on this device would be. `device` as DeviceRequest::device.
// Errors: no_driver, no_device, invalid_argument.
Result<Explanation> explain_device(CudaBackend& backend, std::string_view device);

// What an existing segment is, and whether this process could attach it, without attaching it.
// Errors: as Backend::stat(); without a driver it says what the header and the processes that are
// attached tell.
Result<Explanation> explain_segment(CudaBackend& backend, const SegmentUri& uri);

}  // namespace strata::inline v0_1
