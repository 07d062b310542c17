// A store into a mapped file ends the process where the file system has to find a block for it and
// cannot. So a file gets its blocks before it is written. Pools are made with all of theirs, but a
// copy by a program that leaves zeros out has holes; and after a copy by reference (a snapshot, or
// `cp` on XFS) both files have the same blocks, until one of the two is written.
//   Threads:  any.
//   Errors:   exhausted, where the file system has no room for the blocks.
//   Cost:     fill_holes: nothing where there are none. unshare_blocks: about a microsecond for
//             each hundred extents, and the copy of what is shared.
//   Limits:   another program that copies the file by reference afterwards takes the blocks away
//             again. Of Linux' file systems XFS can own its blocks; Btrfs looks for new ones at
//             every store.
#pragma once

#include <span>
#include <string>

#include "os/os.h"
#include "strata/base/result.h"

namespace strata::inline v0_1 {

// `facts` are those of the file behind `fd`, which is `path` in errors.
Result<void> fill_holes(Os& os, int fd, const struct stat& facts, const std::string& path);

// Makes an empty file that long, of zeros, with all its blocks.
Result<void> reserve_blocks(Os& os, int fd, std::uint64_t bytes);

// Of what lies in `range`, but not in `kept`. `kept` is ascending.
Result<void> unshare_blocks(Os& os, int fd, FileRange range, std::span<const FileRange> kept,
                            const std::string& path);

}  // namespace strata::inline v0_1
