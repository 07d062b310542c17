// Filling a staged segment: a source's bytes into the payload, and their checksums beside it where
// it has any. Of a recycled one only the blocks that differ are stored.
//   Threads:  one for each staged segment; it takes helpers.
//   Errors:   as ByteSource::read and StagedSegment::store; the payload is then unspecified.
//   Cost:     reads the source once. A source that cannot show its bytes passes through buffers of
//             a megabyte or so, which stay in the cache.
//   Persists: on a medium of pages with publish(); else when it returns.
#pragma once

#include <cstdint>

#include "strata/base/byte_source.h"
#include "strata/pmem/pool.h"

namespace strata::inline v0_1 {

struct FillReport {
  std::uint64_t blocks_written = 0;  // 0 where there are no checksums
  std::uint64_t bytes_written = 0;
};

// `from` has as many bytes as the payload. `threads` 0: one for each processor, at most 8.
Result<FillReport> fill(StagedSegment& staged, ByteSource& from, unsigned threads,
                        const ProgressFn& progress);

}  // namespace strata::inline v0_1
