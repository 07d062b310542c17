// All that can be verified of what is in a segment: sealed content, heap, objects, transaction
// log, locks. Nothing is changed, and others may use the segment meanwhile.
//   Errors:   none: what is wrong, and what could not be looked at, is in the result.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/check_outcome.h"
#include "os/os.h"
#include "strata/segment/segment.h"

namespace strata::inline v0_1::tools {

struct SegmentCheck {
  struct Finding {
    std::string part;  // "heap", "lock", …
    std::string text;
    // sound: left over by a dead process; the next open takes care of it.
    CheckOutcome outcome = CheckOutcome::damaged;
  };
  std::vector<std::string> verified;  // what was looked at, with numbers
  std::vector<Finding> findings;
  CheckOutcome verdict = CheckOutcome::sound;

  void add(Finding finding);
  void add(const std::string& part, const Status& failure);
};

// "left over", "busy", "unknown", "wrong".
std::string_view finding_word(const SegmentCheck::Finding& finding);

// The segment may be attached read-only.
SegmentCheck check_content(Os& os, Segment& segment);

}  // namespace strata::inline v0_1::tools
