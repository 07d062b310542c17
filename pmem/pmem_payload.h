// A PmemMapping is a segment of a pool, mapped into this process (see segment/payload.h).
//   Threads:  as Mapping.
//   Lifetime: the lease is a lock on the pool file in the range of the segment's slot; it ends
//             with this object or with the process.
//   Persists: what is flushed and drained through durability().
#pragma once

#include <functional>
#include <memory>

#include "pmem/domain.h"
#include "pmem/pool_file.h"
#include "segment/payload.h"

namespace strata {

struct PmemMappingOptions {
  Access access = Access::read_write;
  Granularity worst_granularity = Granularity::page;
};

class PmemMapping final : public Mapping {
 public:
  // `file` holds the lease on `slot`.
  static Result<std::unique_ptr<PmemMapping>> map(PoolFile file, std::uint32_t slot,
                                                  const DirectoryEntry& entry,
                                                  const PmemMappingOptions& options);
  ~PmemMapping() override;

  HeaderPage& header() override;
  Access access() const override { return payload_->access(); }
  Result<std::byte*> host_payload() override { return payload_start_; }
  LockRange lock_range() const override { return file_.lock_range(slot_); }
  Os& os() override { return *file_.os; }
  Result<std::uint64_t> existing_bytes() override;
  Result<void> extend(std::uint64_t from_bytes, std::uint64_t to_bytes) override;
  Result<void> freeze() override { return payload_->freeze(); }
  Durability& durability() override { return durability_ ? *durability_ : *payload_; }

  const PoolFile& file() const { return file_; }
  Domain& domain() const { return *payload_; }
  // Puts another durability in the place of the domain's, for tests.
  void set_durability(std::unique_ptr<Durability> durability) {
    durability_ = std::move(durability);
  }
  // Runs after everything is unmapped and every lock is released.
  void set_on_detach(std::function<void()> on_detach) { on_detach_ = std::move(on_detach); }

 private:
  PmemMapping(PoolFile file, std::uint32_t slot, const DirectoryEntry& entry)
      : file_(std::move(file)), slot_(slot), entry_(entry) {}

  PoolFile file_;
  std::uint32_t slot_;
  DirectoryEntry entry_;
  std::unique_ptr<Domain> header_;   // only where the payload is private
  std::unique_ptr<Domain> payload_;  // else header and payload
  std::unique_ptr<Durability> durability_;
  std::byte* payload_start_ = nullptr;
  std::function<void()> on_detach_;
};

}  // namespace strata
