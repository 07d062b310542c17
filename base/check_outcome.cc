#include "base/check_outcome.h"

#include <algorithm>

namespace strata::inline v0_1 {

std::string_view outcome_name(CheckOutcome outcome) {
  switch (outcome) {
    case CheckOutcome::sound: return "sound";
    case CheckOutcome::gone: return "gone";
    case CheckOutcome::unknown: return "unknown";
    case CheckOutcome::busy: return "busy";
    case CheckOutcome::damaged: return "damaged";
  }
  return "unknown";
}

CheckOutcome outcome_of(Code code) {
  switch (code) {
    case Code::corrupt: return CheckOutcome::damaged;
    case Code::not_ready:
    case Code::timed_out: return CheckOutcome::busy;
    case Code::invalid_argument:
    case Code::not_found:
    case Code::already_exists:
    case Code::permission_denied:
    case Code::exhausted:
    case Code::unsupported:
    case Code::failed_precondition:
    case Code::internal:
    case Code::no_driver:
    case Code::no_device:
    case Code::wrong_device: return CheckOutcome::unknown;
  }
  return CheckOutcome::unknown;
}

CheckOutcome worse_of(CheckOutcome a, CheckOutcome b) {
  const CheckOutcome worse = std::max(a, b);
  return worse == CheckOutcome::gone ? CheckOutcome::sound : worse;
}

}  // namespace strata::inline v0_1
