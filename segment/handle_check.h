// Whether a handle may be used, and whether it led to what it promised: the one place where the
// two are compared, for every backend.
//   Threads:  any.
//   Errors:   see each function; the messages say what differs.
//   Cost:     a few comparisons.
#pragma once

#include <cstdint>

#include "os/os.h"
#include "strata/base/result.h"
#include "strata/segment/handle.h"
#include "strata/segment/options.h"
#include "strata/segment/segment.h"
#include "strata/segment/uri.h"

namespace strata::inline v0_1 {

class Backend;

// What a backend says of the handles that are meant for it.
struct HandleRules {
  SegmentKind kind;
  // The memory is there after a restart of the machine, and so means the same in another boot.
  bool outlives_boot = false;
};

// What stands in the header that a handle led to; copies.
struct HandleFinding {
  IdentityBlock identity;  // checked
  std::uint64_t generation;
  std::uint64_t payload_bytes;
};

// Before anything is opened. Errors: corrupt for a handle of another kind; failed_precondition for
// one of another machine or boot; permission_denied where more is asked than it grants.
Result<void> check_handle(const Handle& handle, const HandleRules& rules, Os& os,
                          const AttachOptions& options);

// Afterwards. Errors: failed_precondition where it is another segment by now, another version of
// it, or one whose locks have begun anew since.
Result<void> check_led_to(const Handle& handle, const HandleFinding& found);
Result<void> check_led_to(const Handle& handle, const Segment& segment);

// The URI that the locator is. Errors: unsupported where it is none of this kind.
Result<SegmentUri> uri_of(const Handle& handle);

// Attaches what the locator names and compares. For backends whose generation does not change by
// attaching. Errors: as Backend::attach and check_led_to().
Result<Segment> attach_by_locator(Backend& backend, const Handle& handle,
                                  const AttachOptions& options);

}  // namespace strata::inline v0_1
