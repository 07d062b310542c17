// The options of C as those of C++.
#pragma once

#include "strata/base/result.h"
#include "strata/c.h"
#include "strata/segment/options.h"

namespace strata::inline v0_1::c {

// `given` may be null. Errors: invalid_argument, naming the field.
Result<Placement> placement_of(const strata_placement* given);
Result<Content> content_of(const strata_content* given);
Result<CreateOptions> create_options_of(const strata_create_options* given);
Result<AttachOptions> attach_options_of(const strata_attach_options* given);

}  // namespace strata::inline v0_1::c
