// What a check has proved of one part of what it looked at, and of all of it together.
//   Threads:  a value.
// Nothing is called sound that was not looked at, and nothing damaged that only could not be.
#pragma once

#include <cstdint>
#include <string_view>

#include "strata/base/status.h"

namespace strata::inline v0_1 {

// From the least to the most that one part says of the whole.
enum class CheckOutcome : std::uint8_t {
  sound,    // looked at, and as it must be
  gone,     // replaced or removed while it was looked at: no part of it any more
  unknown,  // could not be looked at: no right, no memory, no processes, too slow
  busy,     // could not be looked at as others hold or change it: try again later
  damaged,  // proved to be wrong
};

// "sound", "gone", "unknown", "busy", "damaged".
std::string_view outcome_name(CheckOutcome outcome);

// What it means where a look ended with that error. That a part has gone is for the caller to say.
CheckOutcome outcome_of(Code code);

// Of two parts together. What is gone says nothing of the rest, so that this is never `gone`.
CheckOutcome worse_of(CheckOutcome a, CheckOutcome b);

}  // namespace strata::inline v0_1
