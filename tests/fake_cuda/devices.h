// The devices that this process sees, and their primary contexts.
//   Threads: under driver_mutex(), but for the contexts that are current, which are a thread's own.
#pragma once

#include <string>
#include <vector>

#include "tests/fake_cuda/calls.h"

namespace strata::inline v0_1::fake_cuda {

struct FakeDevice {
  int number;  // on the machine: nvidiaN
  CuUuid uuid;
  std::string name;
  std::string pci_address;
};

// In the order that CUDA_VISIBLE_DEVICES gives; a CuDevice is an index into it.
const std::vector<FakeDevice>& devices();
bool is_device(CuDevice device);
// -1: this process does not see it.
CuDevice find_device(const CuUuid& uuid);
// Whether `device` reaches memory of `owner`.
bool can_reach(CuDevice device, CuDevice owner);

// Success, or why calls that need a current context cannot have one.
CuResult check_context();
// Requires success of check_context().
CuDevice current_device();

}  // namespace strata::inline v0_1::fake_cuda

#define FAKE_CUDA_NEED_CONTEXT()                                             \
  if (const strata::cuda::CuResult why = strata::fake_cuda::check_context(); \
      why != strata::cuda::kSuccess)                                         \
  return why

struct strata::cuda::CuContextObject {
  CuDevice device;
  int retained;
};
