// Checkpoints: bytes as a new, immutable version of a segment in a pool, and back. Each block has a
// checksum, so that a bit that flips on the medium is reported with its block and never returned
// silently. Those of segments are in copy.h.
//
//     STRATA_ASSIGN(auto report, checkpoint(bytes, pool, "model", {.keep_versions = 3}));
//     STRATA_TRY(load_version(pool, "model", 0, fresh, {}));
//
//   Threads:  any; the work itself is done by several threads.
//   Lifetime: readers of the version before keep it.
//   Errors:   checkpoint: exhausted, timed_out as Pool; nothing changes on failure.
//             restore, verify: not_found; corrupt with the first bad block; failed_precondition
//             for a version without checksums, where they are asked for.
//   Cost:     checkpoint reads the source once, and writes the blocks whose hash differs from
//             the spare version that it writes over.
//   Persists: a checkpoint is there wholly or not at all.
// The source must hold still meanwhile: seal it, hold its lock, or own it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "strata/base/byte_source.h"
#include "strata/base/result.h"
#include "strata/os/deadline.h"
#include "strata/pmem/pool.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

inline constexpr std::uint32_t kDefaultBlockBytes = 64 * 1024;

struct CheckpointOptions {
  std::uint32_t block_bytes = kDefaultBlockBytes;
  // Older versions to keep, whatever becomes of this checkpoint. One more stays as a spare, which
  // the next checkpoint writes over; with 0 there is none, and all is written every time.
  std::uint32_t keep_versions = 2;
  unsigned threads = 0;  // 0: one for each processor, at most 8
  ProgressFn progress = {};
  // How long each change of the pool waits for its lock, whatever time the copying takes.
  std::uint64_t timeout_ms = 10'000;
  // What the bytes are; where nothing is said, what the source says of them.
  Content content = {};
};

struct CheckpointReport {
  std::uint64_t version = 0;
  std::uint64_t blocks = 0;
  std::uint64_t blocks_written = 0;
  std::uint64_t bytes_written = 0;
  bool is_incremental = false;
};

// The length of `from` must be known.
Result<CheckpointReport> checkpoint(ByteSource& from, const Pool& pool, const std::string& name,
                                    const CheckpointOptions& options = {});
Result<CheckpointReport> checkpoint(std::span<const std::byte> from, const Pool& pool,
                                    const std::string& name, const CheckpointOptions& options = {});

// The first half of a checkpoint: a version that nobody sees before Pool::publish(), alone or with
// others. `report` may be null; the version is known once it is published.
Result<StagedSegment> stage_checkpoint(ByteSource& from, const Pool& pool, const std::string& name,
                                       const CheckpointOptions& options,
                                       CheckpointReport* report = nullptr);

struct LoadOptions {
  unsigned threads = 0;
  ProgressFn progress = {};
  // A version that was not checkpointed has no checksums: copy it all the same.
  bool even_if_unverified = false;
  Deadline deadline = Deadline::after_ms(10'000);
};

struct LoadReport {
  std::uint64_t version = 0;
  std::uint64_t bytes = 0;
  std::uint64_t blocks_verified = 0;
};

// Copies a version (0: the current one) into the first bytes of `to`. On failure those are
// unspecified.
Result<LoadReport> load_version(const Pool& pool, const std::string& name, std::uint64_t version,
                                std::span<std::byte> to, const LoadOptions& options = {});

struct BadBlock {
  std::uint64_t block = 0;
  std::uint64_t offset_bytes = 0;  // in the payload
  std::uint64_t bytes = 0;
};

struct VerifyReport {
  std::uint64_t version = 0;
  std::uint64_t blocks_verified = 0;
  std::vector<BadBlock> bad_blocks;  // the first 100
  std::uint64_t bad_block_count = 0;
};

// Reads a version and compares every block with its checksum. Damage is in the report; errors
// are for what could not be read at all.
Result<VerifyReport> verify_blocks(const Pool& pool, const std::string& name, std::uint64_t version,
                                   unsigned threads = 0);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
