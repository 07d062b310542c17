#include "pmem/pmem_payload.h"

#include <algorithm>

#include "pmem/pool_access.h"
#include "strata/pmem/pool.h"

namespace strata::inline v0_1 {

Result<std::unique_ptr<PmemPayload>> PmemPayload::map(HeaderPlane& plane,
                                                      const DirectoryEntry& entry,
                                                      Granularity worst_granularity) {
  std::unique_ptr<PmemPayload> payload(new PmemPayload(plane, entry));
  Os& os = plane.os();
  if (plane.access() == Access::copy_on_write) {
    // Only the payload is private: states and sizes must go on being seen.
    STRATA_ASSIGN(payload->header_, Domain::map(os, plane.fd(),
                                                {.offset_bytes = entry.header_offset_bytes,
                                                 .bytes = kHeaderBytes,
                                                 .access = Access::read_only}));
    STRATA_ASSIGN(payload->payload_, Domain::map(os, plane.fd(),
                                                 {.offset_bytes = payload->file_offset_bytes(),
                                                  .bytes = entry.max_bytes,
                                                  .access = Access::copy_on_write}));
    payload->payload_start_ = payload->payload_->bytes().data();
    plane.use_page(payload->header_->bytes().data());
    return payload;
  }
  STRATA_ASSIGN(payload->payload_,
                Domain::map(os, plane.fd(),
                            {.offset_bytes = entry.header_offset_bytes,
                             .bytes = entry.payload_offset_bytes + entry.max_bytes,
                             .access = plane.access(),
                             .worst_granularity = worst_granularity}));
  payload->payload_start_ = payload->payload_->bytes().data() + entry.payload_offset_bytes;
  plane.use_page(payload->payload_->bytes().data());
  return payload;
}

Result<std::uint64_t> PmemPayload::existing_bytes() {
  STRATA_ASSIGN(const struct stat facts, plane_.os().fstat(plane_.fd()));
  const auto file_bytes = static_cast<std::uint64_t>(facts.st_size);
  if (file_bytes <= file_offset_bytes()) return 0;
  return std::min(entry_.max_bytes, file_bytes - file_offset_bytes());
}

Result<void> PmemPayload::extend(std::uint64_t from_bytes, std::uint64_t to_bytes) {
  return zero_durably(plane_.os(), plane_.fd(), durability(),
                      {payload_start_ + from_bytes, to_bytes - from_bytes},
                      file_offset_bytes() + from_bytes);
}

Result<void> PmemPayload::freeze(const std::function<Result<void>()>& record) {
  // One mapping holds header and payload: nobody else writes, and this process stops last.
  STRATA_TRY(record());
  return payload_->freeze();
}

}  // namespace strata::inline v0_1
