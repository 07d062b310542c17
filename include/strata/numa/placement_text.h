// Where the pages go, as people write it: "node:1", "interleave:0,1", "weighted:0=3,1=1!".
//   Threads:  any.
#pragma once

#include <string_view>

#include "strata/base/result.h"
#include "strata/segment/options.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// The inverse of Placement::to_string(). Errors: invalid_argument with the rule that is broken.
Result<Placement> parse_placement(std::string_view text);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
