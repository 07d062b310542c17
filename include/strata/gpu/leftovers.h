// What this process could not give back to the driver when it let go of it, because a call of the
// driver failed or a device was still at work: mappings of device memory, registered host memory,
// pinned buffers.
//   Threads:  any.
//   Lifetime: they are kept until they can be given back, or the process ends. What lies behind
//             them is kept: a segment whose pages stay registered stays attached.
//   Cost:     leftovers: a lock. They are tried again whenever memory of these kinds is taken, and
//             by retry_leftovers: some calls of the driver for each.
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)
namespace strata::inline v0_1::cuda {

struct Leftovers {
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
};

Leftovers leftovers();
// Tries to give them back, and returns those that are left.
Leftovers retry_leftovers();

}  // namespace strata::inline v0_1::cuda
#pragma GCC visibility pop
