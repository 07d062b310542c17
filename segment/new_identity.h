// What every backend does alike to make a segment: check the options, fill in the header page.
#pragma once

#include <array>
#include <cstdint>

#include "os/os.h"
#include "strata/base/result.h"
#include "strata/segment/header.h"
#include "strata/segment/options.h"

namespace strata::inline v0_1 {

// Sets the size that the content asks for, where none is set.
Result<void> complete_create_options(CreateOptions& options);

// Errors: invalid_argument with the option and its limit.
Result<void> check_create_options(const CreateOptions& options);

// A signed identity for a new segment, with a fresh uuid. Errors: invalid_argument.
Result<IdentityBlock> make_identity(Os& os, SegmentKind kind, std::string_view name,
                                    const CreateOptions& options);

// The bytes of a whole header page, ready to be written out. `content` has been checked, as
// check_create_options() does.
std::array<std::byte, kHeaderBytes> make_header_page(
    const IdentityBlock& identity, SegmentState state = SegmentState::initialising,
    const Content& content = {});

}  // namespace strata::inline v0_1
