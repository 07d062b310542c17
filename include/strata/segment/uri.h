// A SegmentUri says which segment: "shm:mesh", "pmem:/data/run.pool#mesh", "cuda:weights".
// How it is made or opened is in CreateOptions and AttachOptions, never in the URI.
//   Errors:   invalid_argument with the offending part and the rule that it breaks.
#pragma once

#include <string>
#include <string_view>

#include "strata/base/result.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// A segment name: 1 to 200 bytes of A-Z a-z 0-9 . _ - with no leading dot or dash.
inline constexpr std::size_t kMaxNameBytes = 200;
Result<void> check_name(std::string_view name);

struct SegmentUri {
  std::string scheme;     // "shm", "pmem", …
  std::string container;  // the pool's path for "pmem", else empty
  std::string name;

  static Result<SegmentUri> parse(std::string_view text);
  std::string to_string() const;
  bool operator==(const SegmentUri&) const = default;
};

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
