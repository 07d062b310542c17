// Names, places and rights of the files behind "shm:" segments.
//   Threads:  any.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "os/os.h"
#include "segment/options.h"

namespace strata {

inline constexpr std::string_view kShmFilePrefix = "strata.";

std::string shm_path(std::string_view directory, std::string_view name);

// Where hugetlb pages of that size are mounted.
// Errors: unsupported with the mount command that is missing.
Result<std::string> find_hugetlbfs(Os& os, std::uint64_t page_bytes);

// A failed open with the reason that a person needs: whose segment it is, that it is sealed.
Status explain_open_failure(Os& os, const std::string& path, Access access, const Status& failure);

// Opens a segment's file to lock and remove it. A sealed one has no write permission left, but
// its owner may give it back for a moment: the header goes on saying `sealed`.
Result<Fd> open_to_change(Os& os, const std::string& path);

}  // namespace strata
