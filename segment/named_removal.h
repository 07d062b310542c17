// How the name of a segment in files is taken away: wholly or not at all, and where a process is
// killed in between, so that the next gc can prove what is left and finish.
//   Threads:  any. Callers hold the segment's change lock, and have judged it under that lock.
//   Errors:   where the kernel refuses, nothing has changed.
//
// The name goes first: before that a refusal changes nothing, and after that nobody can attach any
// more. Where the payload is a file of its own there are two names, and the kernel takes one at a
// time; then the header is moved aside first, within its directory and under the rules of a
// removal. What is found aside is unfinished by its name alone.
#pragma once

#include <string>
#include <string_view>

#include "segment/named_directory.h"
#include "segment/named_files.h"
#include "strata/base/result.h"
#include "strata/segment/segment_stat.h"

namespace strata::inline v0_1 {

// `file_name` is PREFIX.NAME, and `fd` the open file that it means. `payload` is null where the
// header's file is all.
Result<void> remove_name(Os& os, const NamedDirectory& directory, const std::string& file_name,
                         const SegmentStat& facts, int fd, const ApartFile* payload);

// Whether the name of a file, less its prefix and dot, is of a header that a removal has moved
// aside: "-NAME.UUID.RANDOM". A dash begins no name of a segment.
bool is_aside(std::string_view name);
// The name that it had; it may be anything, and only the header tells whether it is true.
std::string name_of_aside(std::string_view name);

// The rest of remove_name(), for a file that was found aside. Errors: failed_precondition where it
// is not what its name says, or has another name too: then it proves nothing.
Result<void> check_aside(Os& os, std::string_view name, const SegmentStat& facts, int fd);
Result<void> finish_removal(Os& os, const NamedDirectory& directory, const std::string& file_name,
                            const SegmentStat& facts, int fd, const ApartFile& payload);

}  // namespace strata::inline v0_1
