// The backend of "shm:NAME": named segments in tmpfs, and anonymous ones in memfds, placed on
// the nodes that were asked for.
//   Threads:  any.
//   Lifetime: outlives its segments.
//   Errors:   as Backend; not_found also for a segment that is removed while it is attached.
//   Cost:     attach is 4 system calls and a page fault.
//
// A named segment is the file DIRECTORY/strata.NAME. It is made without a name (O_TMPFILE),
// its header and locks are completed, and only then is it linked: a creator that is killed
// before leaves nothing, and one that is killed later leaves a header that says so. Payloads in
// hugetlb pages are a file of their own, HUGE_DIRECTORY/strata.NAME.UUID.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "numa/plan.h"
#include "numa/topology.h"
#include "segment/backend.h"
#include "segment/file_mapping.h"

namespace strata {

class HugePayload;
class ShmDirectory;

struct ShmOptions {
  std::string directory = "/dev/shm";  // a tmpfs
  std::string huge_2m_directory;       // empty: the first hugetlbfs mount with such pages
  std::string huge_1g_directory;
};

class ShmBackend final : public Backend {
 public:
  explicit ShmBackend(Os& os, ShmOptions options = {}) : os_(os), options_(std::move(options)) {}

  std::string_view scheme() const override { return "shm"; }
  Result<Segment> create(const SegmentUri& uri, const CreateOptions& options) override;
  Result<Segment> attach(const SegmentUri& uri, const AttachOptions& options) override;
  Result<SegmentStat> stat(const SegmentUri& uri) override;
  Result<void> remove(const SegmentUri& uri, const RemoveOptions& options) override;
  Result<std::vector<SegmentStat>> list(std::string_view container) override;
  Result<std::vector<ReclaimDecision>> reclaim(const ReclaimOptions& options) override;
  Result<Segment> create_anonymous(const CreateOptions& options) override;
  Result<Segment> attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                const AttachOptions& options) override;

 private:
  std::string path_of(std::string_view name) const;
  // Errors: as HugePayload::locate().
  Result<HugePayload> huge_payload(const SegmentUri& uri, const IdentityBlock& identity);
  FileMapping::OpenPayload payload_opener(const SegmentUri& uri);
  // Binds and commits the payload, and records in the header what was got.
  Result<void> place(Segment& segment, FileMapping& mapping, const CreateOptions& options);
  Result<Plan> plan(const Placement& placement, std::uint64_t payload_bytes, PageSize page_size);
  // Completes a segment whose files exist: maps, places and publishes it.
  Result<Segment> finish(SegmentUri uri, const IdentityBlock& identity, SegmentFiles files,
                         const CreateOptions& options);
  // Attaches memory that has no name, from the descriptors that came with its handle.
  Result<Segment> attach_descriptors(const Handle& handle, const std::vector<Fd>& descriptors,
                                     const AttachOptions& options);
  Result<void> remove_if(const SegmentUri& uri, const RemoveOptions& options,
                         const std::function<bool(const SegmentStat&)>& is_meant);
  // Removes what this process made and could not finish, and nothing else of that name.
  void abandon(const SegmentUri& uri, const IdentityBlock& identity);
  // All or nothing; the caller has judged the segment under its change lock.
  Result<void> take_name_away(const ShmDirectory& directory, const SegmentStat& facts, int fd);
  Result<ReclaimDecision> reclaim_one(const SegmentUri& uri, const ReclaimOptions& options);
  Result<ReclaimDecision> reclaim_aside(const std::string& file_name,
                                        const ReclaimOptions& options);
  // Whether an orphan of that owner is ours to reclaim; where not, the decision says so.
  bool may_reclaim(const SegmentStat& facts, ReclaimDecision& decision);
  FileMappingHooks detach_hooks(const SegmentUri& uri, const IdentityBlock& identity);
  void set_growth_hook(FileMapping& mapping, const IdentityBlock& identity, FileMappingHooks hooks);

  Os& os_;
  ShmOptions options_;
  std::mutex mutex_;
  std::optional<Topology> topology_;  // read when a placement needs it and nodes have changed
  std::string topology_nodes_;        // those with memory, and those of them not allowed, then
};

}  // namespace strata
