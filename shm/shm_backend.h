// The backend of "shm:NAME": named segments in tmpfs, and anonymous ones in memfds, placed on
// the nodes that were asked for.
//   Threads:  any.
//   Lifetime: outlives its segments.
//   Errors:   as Backend; not_found also for a segment that is removed while it is attached.
//   Cost:     attach is 4 system calls and a page fault.
//
// A named segment is the file DIRECTORY/strata.NAME (segment/named_files.h). Payloads in hugetlb
// pages are a file of their own, HUGE_DIRECTORY/strata.NAME.UUID.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "numa/plan.h"
#include "numa/topology.h"
#include "segment/backend.h"
#include "segment/file_payload.h"
#include "segment/named_files.h"

namespace strata::inline v0_1 {

class HugePayload;

struct ShmOptions {
  std::string directory = "/dev/shm";  // a tmpfs
  std::string huge_2m_directory;       // empty: the first hugetlbfs mount with such pages
  std::string huge_1g_directory;
};

class ShmBackend final : public Backend {
 public:
  explicit ShmBackend(Os& os, ShmOptions options = {});

  std::string_view scheme() const override { return "shm"; }
  const Capabilities& capabilities() const override;
  Result<SegmentStat> stat(const SegmentUri& uri) override { return files_.stat(uri); }
  Result<void> remove(const SegmentUri& uri, const RemoveOptions& options) override {
    return files_.remove(uri, options);
  }
  Result<std::vector<SegmentStat>> list(std::string_view container) override;
  Result<std::vector<ReclaimDecision>> reclaim(std::string_view container,
                                               const ReclaimOptions& options) override;

  Result<Plan> plan(const Placement& placement, std::uint64_t payload_bytes, PageSize page_size);

 protected:
  Result<Segment> do_create(const SegmentUri& uri, const CreateOptions& options) override;
  Result<Segment> do_attach(const SegmentUri& uri, const AttachOptions& options) override;
  Result<Segment> do_create_anonymous(const CreateOptions& options) override;
  Result<Segment> do_attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                   const AttachOptions& options) override;

 private:
  // Errors: as HugePayload::locate().
  Result<HugePayload> huge_payload(const SegmentUri& uri, const IdentityBlock& identity);
  FilePayload::OpenPayload payload_opener(const SegmentUri& uri);
  // Binds and commits the payload, and records in the header what was got.
  Result<void> place(FilePayload& payload, const CreateOptions& options);
  // Completes a segment whose files exist: maps, places and publishes it.
  Result<Segment> finish(SegmentUri uri, const IdentityBlock& identity,
                         std::unique_ptr<HeaderPlane> plane, Fd own_file,
                         const CreateOptions& options);
  Result<Segment> attach_files(const SegmentUri& uri, FilePayload::Mapped&& mapped,
                               const AttachOptions& options);
  // Attaches memory that has no name, from the descriptors that came with its handle.
  Result<Segment> attach_descriptors(const Handle& handle, const std::vector<Fd>& descriptors,
                                     const AttachOptions& options);
  std::function<void()> on_detach(const SegmentUri& uri, const IdentityBlock& identity);

  Os& os_;
  ShmOptions options_;
  NamedFiles files_;
  std::mutex mutex_;
  std::optional<Topology> topology_;  // read when a placement needs it and nodes have changed
  std::string topology_nodes_;        // those with memory, and those of them not allowed, then
};

}  // namespace strata::inline v0_1
