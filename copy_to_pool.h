// copy() into a pool: staged, filled, then published, whole or not at all.
//   Errors:   as copy().
#pragma once

#include "pmem/pmem_backend.h"
#include "strata/copy.h"

namespace strata::inline v0_1 {

// As a live segment, that can grow and that has no checksums. The name must be free.
Result<CopyReport> copy_into_pool(PmemBackend& pools, ByteSource& from, const SegmentUri& to,
                                  const CopyOptions& options);
// As the next version of the name, with checksums.
Result<CopyReport> copy_to_version(PmemBackend& pools, ByteSource& from, const SegmentUri& to,
                                   const CopyOptions& options);

}  // namespace strata::inline v0_1
