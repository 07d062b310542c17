// A PmemPayload is the payload of a segment of a pool, mapped into this process.
//   Threads:  as Payload.
//   Lifetime: within that of its HeaderPlane, whose file is the pool's. But for private mappings
//             the header page lies in this mapping, so that it persists with the payload.
//   Persists: what is flushed and drained through durability().
#pragma once

#include <memory>

#include "pmem/domain.h"
#include "pmem/pool_format.h"
#include "segment/header_plane.h"
#include "segment/payload.h"

namespace strata::inline v0_1 {

class PmemPayload final : public Payload {
 public:
  // `plane` holds the lease on the slot of `entry`, and gets its page.
  static Result<std::unique_ptr<PmemPayload>> map(HeaderPlane& plane, const DirectoryEntry& entry,
                                                  Granularity worst_granularity);

  Result<std::byte*> host_bytes() override { return payload_start_; }
  Result<std::uint64_t> existing_bytes() override;
  Result<void> extend(std::uint64_t from_bytes, std::uint64_t to_bytes) override;
  Result<void> freeze(const std::function<Result<void>()>& record) override;
  Durability& durability() override { return durability_ ? *durability_ : *payload_; }

  Domain& domain() const { return *payload_; }
  // Puts another durability in the place of the domain's, for tests.
  void set_durability(std::unique_ptr<Durability> durability) {
    durability_ = std::move(durability);
  }

 private:
  PmemPayload(HeaderPlane& plane, const DirectoryEntry& entry) : plane_(plane), entry_(entry) {}
  std::uint64_t file_offset_bytes() const {
    return entry_.header_offset_bytes + entry_.payload_offset_bytes;
  }

  HeaderPlane& plane_;
  DirectoryEntry entry_;
  std::unique_ptr<Domain> header_;          // only where the payload is private
  std::unique_ptr<Domain> payload_;         // else header and payload
  std::unique_ptr<Durability> durability_;  // over payload_
  std::byte* payload_start_ = nullptr;
};

}  // namespace strata::inline v0_1
