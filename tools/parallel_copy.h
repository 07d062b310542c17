// Reads a file straight into memory with several threads: one copy, made by the kernel from the
// page cache to where the bytes stay.
//   Errors:   what read reported; failed_precondition where the file ends early.
//   Cost:     bound by memory bandwidth; a second thread nearly doubles it. Where there can be no
//   more
//             threads (ulimit -u), the calling one does it alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/result.h"
#include "os/os.h"

namespace strata::tools {

// Fills `into` with the first bytes of `fd`. `progress` is called by any thread with the bytes
// that it has just read.
Result<void> read_in_parallel(Os& os, int fd, std::span<std::byte> into,
                              const std::function<void(std::uint64_t)>& progress);

}  // namespace strata::tools
