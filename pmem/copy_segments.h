// What growing, repairing and restoring a pool share: its segments, in another one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pmem/pool_access.h"
#include "pmem/pool_file.h"
#include "strata/base/result.h"

namespace strata::inline v0_1 {

// Copies all versions that `from` holds into the pool `to`: `from` must be frozen or private.
// What cannot be read, or differs from its checksums, is left out and named in `lost`; so is what
// a damaged header says of a payload that is whole. Returns how many versions were copied. Errors:
// unsupported where one has features that are unknown.
Result<std::uint32_t> copy_segments(const PoolFile& from, const std::vector<PoolEntry>& entries,
                                    const Pool& to, std::vector<std::string>& lost);

}  // namespace strata::inline v0_1
