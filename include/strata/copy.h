// copy() is the one way to bring bytes into a segment: of a file, a stream, memory, another segment
// or a version in a pool, into memory of any kind or into a pool.
//
//     STRATA_ASSIGN(auto file, open_source("mesh.bin"));
//     STRATA_TRY(copy(catalog, *file, "pmem:/data/run.pool#mesh", {.finish = CopyFinish::seal}));
//
//   Threads:  any; the copying is done by several threads where source and target allow it.
//   Errors:   as the source; already_exists, or failed_precondition where what is there cannot take
//             the bytes; as Catalog::create and Pool::publish.
//   Cost:     one read of the source. A source whose length is not known is kept in a file first.
//   Persists: into a pool: it is durable when copy() returns.
// A new segment gets all bytes or does not come to exist. In a pool nothing has the name before the
// bytes are whole and durable; elsewhere attachers wait, and what a killed process leaves is
// reclaimed by gc or by the next creator.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "strata/copy_sources.h"
#include "strata/pmem/checkpoint.h"
#include "strata/segment/catalog.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// What becomes of a segment that has the name already.
enum class IfExists : std::uint8_t {
  refuse,
  // It is overwritten while others see it. It must have exactly as many bytes, or grow to them, and
  // where its header and the source say what they are, be the same; where nothing is there a new
  // one is made.
  overwrite,
  // It stays as a version before this one. In pools only; the new version has checksums and never
  // changes, also where it is the first.
  new_version,
};

enum class CopyFinish : std::uint8_t { publish, seal };

struct CopyOptions {
  // Of a new segment; its size is the source's, and so is its content where none is set here. One
  // that would end with this process is refused.
  CreateOptions create = {};
  IfExists if_exists = IfExists::refuse;
  CopyFinish finish = CopyFinish::publish;
  // Of a new version: see CheckpointOptions.
  std::uint32_t keep_versions = 2;
  std::uint32_t block_bytes = kDefaultBlockBytes;
  unsigned threads = 0;  // 0: one for each processor, at most 8
  ProgressFn progress = {};
  // The same while a source of unknown length is being kept.
  ProgressFn keep_progress = {};
  // How long each change of the target waits for others, whatever time the copying takes.
  std::uint64_t timeout_ms = 10'000;
};

struct CopyReport {
  std::uint64_t bytes = 0;
  bool was_created = false;
  SegmentState state = SegmentState::blank;
  std::uint64_t blocks_verified = 0;  // of the source
  std::uint64_t version = 0;          // in a pool, where it is new there
  CheckpointReport checkpoint = {};   // of a new version
};

Result<CopyReport> copy(Catalog& catalog, ByteSource& from, const SegmentUri& to,
                        const CopyOptions& options = {});
Result<CopyReport> copy(Catalog& catalog, ByteSource& from, std::string_view to,
                        const CopyOptions& options = {});

struct FillOptions {
  unsigned threads = 0;
  ProgressFn progress = {};
};

// Copies into the first bytes of a segment that is attached for writing, and settles it. On failure
// its content is unspecified. Errors: invalid_argument where it is too small.
Result<void> copy(ByteSource& from, Segment& to, const FillOptions& options = {});

// The content of any segment as a new version in a pool; it must hold still meanwhile.
Result<CheckpointReport> checkpoint(const Segment& from, const Pool& pool, const std::string& name,
                                    const CheckpointOptions& options = {});
// Copies a version (0: the current one) into the first bytes of a segment that is attached for
// writing, of any kind. On failure its content is unspecified.
Result<LoadReport> load_version(const Pool& pool, const std::string& name, std::uint64_t version,
                                Segment& to, const LoadOptions& options = {});

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
