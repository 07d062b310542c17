#include "tools/command/exit_code.h"

namespace strata::inline v0_1::tools {

ExitCode exit_code_of(Code code) {
  switch (code) {
    case Code::invalid_argument: return ExitCode::usage;
    case Code::not_found: return ExitCode::not_found;
    case Code::permission_denied:
    case Code::failed_precondition: return ExitCode::refused;
    case Code::already_exists:
    case Code::exhausted:
    case Code::not_ready:
    case Code::timed_out:
    case Code::corrupt:
    case Code::unsupported:
    case Code::internal:
    case Code::no_driver:
    case Code::no_device:
    case Code::wrong_device: return ExitCode::failed;
  }
  return ExitCode::failed;
}

ExitCode exit_code_of(CheckOutcome verdict) {
  switch (verdict) {
    case CheckOutcome::sound:
    case CheckOutcome::gone: return ExitCode::done;
    case CheckOutcome::damaged: return ExitCode::failed;
    case CheckOutcome::busy: return ExitCode::refused;
    case CheckOutcome::unknown: break;
  }
  return ExitCode::unknown;
}

}  // namespace strata::inline v0_1::tools
