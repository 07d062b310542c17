// Text that came from outside, made fit to be shown: names of files, of other processes, of types;
// whatever stood in a header.
//   Threads:  any.
#pragma once

#include <string>
#include <string_view>

namespace strata::inline v0_1 {

// `text` with every byte shown as \xHH that is no part of visible UTF-8 text: control characters
// (a terminal would act on them, a newline would forge a line), bytes that are no UTF-8, and the
// characters that reorder or hide their neighbours (https://trojansource.codes).
std::string printable(std::string_view text);

}  // namespace strata::inline v0_1
