// What this process could not give back to the driver: memory that it would not unmap, free or
// unpin, and pinned memory that a device still uses.
//
// A destructor has nobody to tell of a call that fails. Forgotten, a mapping of a device or pinned
// pages would be lost for the life of the process. Here they are kept, tried again before memory of
// any of these kinds is taken, and counted (strata/gpu/leftovers.h). What lies behind them is kept
// too: pages that the driver takes for registered must not be unmapped, since it would copy to and
// from them when something else lies at their addresses.
//   Threads:  any.
//   Lifetime: that of the process. In a forked child they are forgotten: they are the parent's.
//   Cost:     retry: a lock where there are none.
#pragma once

#include <cstdint>
#include <functional>

#include "gpu/driver.h"
#include "strata/gpu/leftovers.h"

namespace strata::inline v0_1::cuda {

// True once it is given back, or there is nothing to give back any more. It is called again and
// again, by any thread, and owns what must live until then.
using GiveBackFn = std::function<bool()>;

// Keeps what could not be given back; for destructors, where Driver::is_usable().
void keep_leftover(const Driver& driver, std::uint64_t bytes, GiveBackFn give_back);
// Tries first.
void give_back_or_keep(const Driver& driver, std::uint64_t bytes, GiveBackFn give_back);

// Whether what such a call was to give back is gone: also where the driver itself is.
bool is_given_back(CuResult result);

}  // namespace strata::inline v0_1::cuda
