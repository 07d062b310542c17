// Of the bytes of a handle: docs/format/handle.md.
#pragma once

#include <cstdint>

namespace strata::inline v0_1 {

inline constexpr std::uint16_t kHandleVersion = 2;

}  // namespace strata::inline v0_1
