// Which bytes of a pool libpmemobj itself never reads: what programs put into its large objects,
// and what is free. Told from the tables of its heap (heap_layout.h of PMDK 1.12).
//   Errors:   none: tables that contradict themselves, or cannot be read, tell nothing, so that
//             the bytes they are about are not listed.
//   Cost:     reads 512 KiB for each zone of 16 GiB, and 16 bytes for each large object.
#pragma once

#include <cstdint>
#include <vector>

#include "os/os.h"

namespace strata::inline v0_1 {

// Ascending, without overlaps. Every byte of the file is taken as hostile.
std::vector<FileRange> heap_content(Os& os, int fd, std::uint64_t file_bytes,
                                    std::uint64_t heap_offset_bytes);

}  // namespace strata::inline v0_1
