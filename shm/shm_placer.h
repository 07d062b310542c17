// Places what a "shm:" segment grows by and moves what it has: numa/ applied to the files of one
// backend.
//   Threads:  one at a time for one segment; the caller holds its change lock.
//   Lifetime: the backend must outlive it.
//   Errors:   as place() and migrate() in numa/place.h.
#pragma once

#include "segment/file_payload.h"
#include "shm/shm_backend.h"

namespace strata::inline v0_1 {

class ShmPlacer final : public FilePayload::Placer {
 public:
  explicit ShmPlacer(ShmBackend& backend) : backend_(backend) {}

  Result<void> commit(FilePayload& payload, std::span<std::byte> fresh) override;
  Result<PlacementReport> migrate(FilePayload& payload, const Placement& placement,
                                  std::uint64_t payload_bytes) override;

 private:
  ShmBackend& backend_;
};

}  // namespace strata::inline v0_1
