// How the verdict of a check is told: in words, in colour, by the exit status.
#pragma once

#include <string>
#include <string_view>

#include "base/check_outcome.h"
#include "tools/terminal/output.h"

namespace strata::inline v0_1::tools {

Tone outcome_tone(CheckOutcome outcome);

// For the last line of a check: "sound", "DAMAGED", "busy", "unknown".
std::string_view verdict_word(CheckOutcome verdict);

// What the word means, where it is neither of the first two; else empty.
std::string_view verdict_advice(CheckOutcome verdict);

}  // namespace strata::inline v0_1::tools
