// How the name of a "shm:" segment is taken away: wholly or not at all, and where a process is
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

#include "base/result.h"
#include "segment/backend.h"
#include "shm/huge_payload.h"
#include "shm/shm_files.h"

namespace strata {

// `fd` is the open file that the name means. `payload` is null where the header's file is all.
Result<void> remove_name(Os& os, const ShmDirectory& directory, const SegmentStat& facts, int fd,
                         const HugePayload* payload);

// Whether a file is a header that a removal has moved aside: "strata.-NAME.UUID.RANDOM". A dash
// begins no name of a segment.
bool is_aside(std::string_view file_name);
// The segment that it was; its name may be anything, and only the header tells whether it is true.
SegmentUri uri_of_aside(std::string_view file_name);

// The rest of remove_name(), for a file that was found aside. Errors: failed_precondition where it
// is not what its name says, or has another name too: then it proves nothing.
Result<void> check_aside(Os& os, std::string_view file_name, const SegmentStat& facts, int fd);
Result<void> finish_removal(Os& os, const ShmDirectory& directory, const std::string& file_name,
                            const SegmentStat& facts, int fd, const HugePayload& payload);

}  // namespace strata
