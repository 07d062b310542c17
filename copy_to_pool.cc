#include "copy_to_pool.h"

#include "pmem/fill.h"
#include "segment/new_identity.h"

namespace strata::inline v0_1 {

Result<CopyReport> copy_into_pool(PmemBackend& pools, ByteSource& from, const SegmentUri& to,
                                  const CopyOptions& options) {
  const CreateOptions& create = options.create;
  STRATA_TRY(check_create_options(create));
  STRATA_TRY(pools.capabilities().check(create));
  const Pool pool = pools.pool(to.container);
  const Lifetime lifetime = create.lifetime.value_or(pools.capabilities().default_lifetime());
  STRATA_ASSIGN(StagedSegment staged,
                pool.stage({.name = to.name,
                            .payload_bytes = create.payload_bytes,
                            .max_bytes = create.max_bytes,
                            .zeroed = false,
                            .must_be_new = true,
                            .lifetime = lifetime,
                            .job_id = create.job_id,
                            .content = create.content,
                            .deadline = Deadline::after_ms(options.timeout_ms)}));
  STRATA_TRY(fill(staged, from, options.threads, options.progress));
  STRATA_TRY(from.finish());
  const bool is_sealed = options.finish == CopyFinish::seal;
  if (is_sealed) STRATA_TRY(staged.seal());
  STRATA_TRY(pool.publish(std::span(&staged, 1), Deadline::after_ms(options.timeout_ms)));
  return CopyReport{.bytes = create.payload_bytes,
                    .was_created = true,
                    .state = is_sealed ? SegmentState::sealed : SegmentState::ready,
                    .version = staged.version()};
}

Result<CopyReport> copy_to_version(PmemBackend& pools, ByteSource& from, const SegmentUri& to,
                                   const CopyOptions& options) {
  STRATA_ASSIGN(const CheckpointReport made, checkpoint(from, pools.pool(to.container), to.name,
                                                        {.block_bytes = options.block_bytes,
                                                         .keep_versions = options.keep_versions,
                                                         .threads = options.threads,
                                                         .progress = options.progress,
                                                         .timeout_ms = options.timeout_ms,
                                                         .content = options.create.content}));
  return CopyReport{.bytes = *from.bytes(),
                    .was_created = made.version == 1,
                    .state = SegmentState::ready,
                    .version = made.version,
                    .checkpoint = made};
}

}  // namespace strata::inline v0_1
