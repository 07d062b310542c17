// The kernels of gpu/kernels, run on the host from their own source: each thread of a block is a
// coroutine, and a barrier lets the others go on.
//   Threads:  any; launches take turns, as shared memory is one.
//   Lifetime: returns when the kernel has ended.
//   Cost:     hundreds of megabytes a second at best: for tests.
// It shows that the source computes what it should on any number of blocks; not that a device does.
#pragma once

#include <cstdint>
#include <string_view>

namespace strata::inline v0_1::test {

struct KernelShape {
  unsigned blocks = 1;
  unsigned threads = 1;  // of each block
};

// Runs the kernel of that name; false where there is none. `parameters` as for cuLaunchKernel, but
// with addresses of the host.
bool run_kernel_on_host(std::string_view name, KernelShape shape, void** parameters);

}  // namespace strata::inline v0_1::test
