// A text as a file.
//   Threads:  any.
//   Errors:   what the file system refused.
#pragma once

#include <string>
#include <string_view>

#include "os/os.h"
#include "strata/base/result.h"

namespace strata::inline v0_1::tools {

// Into a new file, or over what an existing one holds.
Result<void> save_text(Os& os, const std::string& path, std::string_view text);

}  // namespace strata::inline v0_1::tools
