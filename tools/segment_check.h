// All that can be verified of what is in a segment: sealed content, heap, objects, transaction
// log, locks. Nothing is changed.
//   Errors:   where it could not be looked at; what is wrong is in the result.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "segment/segment.h"

namespace strata::tools {

struct SegmentCheck {
  struct Finding {
    std::string part;  // "heap", "lock", …
    std::string text;
    bool is_harmless = false;  // left over by a dead process; the next open takes care of it
  };
  std::vector<std::string> verified;  // what was looked at, with numbers
  std::vector<Finding> findings;
  bool is_sound = true;

  void add(Finding finding);
};

// The segment may be attached read-only.
Result<SegmentCheck> check_content(Segment& segment);

}  // namespace strata::tools
