// The `pmem:` backend: segments in pools, `pmem:/path/pool#NAME`.
//   Threads:  any.
//   Lifetime: outlives its segments.
//   Errors:   as Backend; not_found where there is no pool (make it with Pool::create or
//             `strata pool create`); timed_out with the holder named while another process has
//             the pool open through libpmemobj; unsupported where the medium is coarser than
//             `worst_granularity`, and for placements and page sizes, which a file decides.
//   Cost:     attach: about ten system calls, whatever the size of the pool. create and remove:
//             one change of the directory, about 10 ms.
//   Persists: names, sizes and contents. Lock state never does: the first process that attaches
//             for writing when no other is begins a new generation.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "pmem/domain.h"
#include "pmem/pmem_payload.h"
#include "pmem/pool_file.h"
#include "pmem/pool_registry.h"
#include "segment/backend.h"
#include "strata/pmem/pool.h"

namespace strata::inline v0_1 {

struct PmemBackendOptions {
  Granularity worst_granularity = Granularity::page;
  // How long creating and removing wait for a pool that another process holds.
  std::uint64_t change_timeout_ms = 10'000;
  // Pools that containers() tells of, besides those that were used.
  std::vector<std::string> pools = {};
  // Where the pools that are used are recorded, so that other processes find them: see
  // pmem/pool_registry.h. Empty: nowhere.
  std::string registry_directory = {};
  // Puts another durability over a mapping, for tests; `file_offset_bytes` is where it begins.
  std::function<std::unique_ptr<Durability>(Domain& domain, const std::string& pool_path,
                                            std::uint64_t file_offset_bytes)>
      wrap_durability = {};
};

class PmemBackend final : public Backend {
 public:
  explicit PmemBackend(Os& os, PmemBackendOptions options = {});

  std::string_view scheme() const override { return "pmem"; }
  const Capabilities& capabilities() const override;
  // An older version that the pool keeps; never for writing. 0 is the current one.
  Result<Segment> attach_version(const SegmentUri& uri, std::uint64_t version,
                                 const AttachOptions& options);
  // For changes that concern more than one segment, or one without a name yet.
  Pool pool(const std::string& path);
  Result<SegmentStat> stat(const SegmentUri& uri) override;
  Result<void> remove(const SegmentUri& uri, const RemoveOptions& options) override;
  std::vector<std::string> containers(const std::vector<std::string>& named,
                                      GoneRecords gone) override;
  Result<std::vector<SegmentStat>> list(std::string_view container) override;
  Result<std::vector<ReclaimDecision>> reclaim(std::string_view container,
                                               const ReclaimOptions& options) override;

 protected:
  Result<Segment> do_create(const SegmentUri& uri, const CreateOptions& options) override;
  Result<Segment> do_attach(const SegmentUri& uri, const AttachOptions& options) override {
    return attach_one(uri, 0, options);
  }
  // Never another version than the handle's: failed_precondition where that is not the current one.
  Result<Segment> do_attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                   const AttachOptions& options) override;

 private:
  // Of an attachment: a segment of lifetime `process` ends with the one that made it.
  enum class Role : std::uint8_t { creator, user };
  struct Mapped {
    IdentityBlock identity;
    std::unique_ptr<HeaderPlane> plane;
    std::unique_ptr<PmemPayload> payload;
  };
  // What is done about a change of the directory that its process did not live to end.
  enum class Interrupted : std::uint8_t { finish, leave };

  Result<Segment> attach_one(const SegmentUri& uri, std::uint64_t version,
                             const AttachOptions& options);
  // `file` holds the lease. The header must describe the segment that the directory means.
  Result<Mapped> map(const SegmentUri& uri, PoolFile file, const FoundEntry& found, Access access);
  AttachmentParts parts_of(const SegmentUri& uri, Mapped mapped, Role role);
  // Puts a segment that is not ready into the directory, and locks it as its creator.
  Result<FoundEntry> reserve(const SegmentUri& uri, const IdentityBlock& wanted,
                             const Content& content, PoolFile& file);
  Result<SegmentStat> stat_entry(SegmentUri uri, const PoolFile& file, std::uint32_t slot,
                                 const DirectoryEntry& entry);
  // What takes a segment away that lives no longer than its users.
  std::function<void()> on_detach(const SegmentUri& uri, const IdentityBlock& identity, Role role);
  Result<std::vector<SegmentStat>> list_pool(const std::string& path, Interrupted change);
  void remember(const std::string& pool_path);

  Os& os_;
  PmemBackendOptions options_;
  PoolRegistry registry_;
  std::mutex mutex_;
  std::set<std::string> used_pools_;
};

}  // namespace strata::inline v0_1
