// The kernel of this machine, for functions that take a door to it. What stands behind the door is
// not a part of the API: Strata's own tests put another there, in which calls fail.
//   Threads:  any.
//   Lifetime: to the end of the process.
#pragma once

namespace strata::inline v0_1 {
class Os;  // hidden: declared outside of the pragma
}

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

Os& real_os();

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
