// What `strata` tells the shell. Scripts may rely on these six numbers; docs/guides/cli.md.
#pragma once

#include "base/check_outcome.h"
#include "strata/base/status.h"

namespace strata::inline v0_1::tools {

enum class ExitCode : int {
  done = 0,
  failed = 1,     // it was tried and did not work, or what was looked at is not in order
  usage = 2,      // the command line cannot mean anything
  not_found = 3,  // nothing of that name
  refused = 4,    // it is in use, in the wrong state, or not yours
  unknown = 5,    // some part could not be looked at; what could was done, and nothing is wrong
};

// The one place where a Code becomes an exit code.
ExitCode exit_code_of(Code code);

// Of a check's verdict: done, failed where it is damaged, refused where it is busy, unknown.
ExitCode exit_code_of(CheckOutcome verdict);

}  // namespace strata::inline v0_1::tools
