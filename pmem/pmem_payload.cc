#include "pmem/pmem_payload.h"

#include "pmem/pool.h"

namespace strata {

Result<std::unique_ptr<PmemMapping>> PmemMapping::map(PoolFile file, std::uint32_t slot,
                                                      const DirectoryEntry& entry,
                                                      const PmemMappingOptions& options) {
  std::unique_ptr<PmemMapping> mapping(new PmemMapping(std::move(file), slot, entry));
  Os& os = *mapping->file_.os;
  const int fd = mapping->file_.fd.get();
  const std::uint64_t payload_at = entry.header_offset_bytes + entry.payload_offset_bytes;
  if (options.access == Access::copy_on_write) {
    // Only the payload is private: states and sizes must go on being seen.
    STRATA_ASSIGN(mapping->header_, Domain::map(os, fd,
                                                {.offset_bytes = entry.header_offset_bytes,
                                                 .bytes = kHeaderBytes,
                                                 .access = Access::read_only}));
    STRATA_ASSIGN(mapping->payload_, Domain::map(os, fd,
                                                 {.offset_bytes = payload_at,
                                                  .bytes = entry.max_bytes,
                                                  .access = Access::copy_on_write}));
    mapping->payload_start_ = mapping->payload_->bytes().data();
    return mapping;
  }
  STRATA_ASSIGN(mapping->payload_,
                Domain::map(os, fd,
                            {.offset_bytes = entry.header_offset_bytes,
                             .bytes = entry.payload_offset_bytes + entry.max_bytes,
                             .access = options.access,
                             .worst_granularity = options.worst_granularity}));
  mapping->payload_start_ = mapping->payload_->bytes().data() + entry.payload_offset_bytes;
  return mapping;
}

PmemMapping::~PmemMapping() {
  durability_.reset();
  payload_.reset();
  header_.reset();
  file_.fd.reset();
  if (on_detach_) on_detach_();
}

HeaderPage& PmemMapping::header() {
  Domain& domain = header_ ? *header_ : *payload_;
  return *reinterpret_cast<HeaderPage*>(domain.bytes().data());
}

Result<std::uint64_t> PmemMapping::existing_bytes() {
  STRATA_ASSIGN(const struct stat facts, file_.os->fstat(file_.fd.get()));
  const std::uint64_t payload_at = entry_.header_offset_bytes + entry_.payload_offset_bytes;
  const auto file_bytes = static_cast<std::uint64_t>(facts.st_size);
  if (file_bytes <= payload_at) return 0;
  return std::min(entry_.max_bytes, file_bytes - payload_at);
}

Result<void> PmemMapping::extend(std::uint64_t from_bytes, std::uint64_t to_bytes) {
  return zero_durably(*file_.os, file_.fd.get(), durability(),
                      {payload_start_ + from_bytes, to_bytes - from_bytes},
                      entry_.header_offset_bytes + entry_.payload_offset_bytes + from_bytes);
}

}  // namespace strata
