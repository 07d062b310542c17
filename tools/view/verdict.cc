#include "tools/view/verdict.h"

namespace strata::inline v0_1::tools {

Tone outcome_tone(CheckOutcome outcome) {
  switch (outcome) {
    case CheckOutcome::sound: return Tone::good;
    case CheckOutcome::damaged: return Tone::bad;
    case CheckOutcome::gone:
    case CheckOutcome::busy:
    case CheckOutcome::unknown: break;
  }
  return Tone::warning;
}

std::string_view verdict_word(CheckOutcome verdict) {
  return verdict == CheckOutcome::damaged ? "DAMAGED" : outcome_name(verdict);
}

std::string_view verdict_advice(CheckOutcome verdict) {
  switch (verdict) {
    case CheckOutcome::sound:
    case CheckOutcome::gone:
    case CheckOutcome::damaged: return {};
    case CheckOutcome::busy: return "  others use it, so that not all was checked: try again\n";
    case CheckOutcome::unknown: break;
  }
  return "  not all could be checked; nothing that was is wrong\n";
}

}  // namespace strata::inline v0_1::tools
