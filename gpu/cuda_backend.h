// The backend of "cuda:NAME": memory of a device, shared between the processes of one user.
//   Threads:  any.
//   Lifetime: outlives its segments. Device memory is gone once nobody is attached: the default
//             lifetime is last_detach, and what is to outlast that needs a holder
//             (CudaOptions::holder_command).
//   Errors:   as Backend; no_driver and no_device where there is none, wrong_device where the
//   memory
//             is on another one that cannot be reached. stat, list, remove and reclaim need no
//             driver.
//   Cost:     attach: the header, a descriptor from a process that is attached, and six calls of
//   the
//             driver; never a copy, and never a silent second way.
//
// A segment is the file DIRECTORY/strata-cuda.NAME: header page and timelines, in host memory, with
// all names, locks and leases. The memory itself is where that header says (gpu/export_block.h).
#pragma once

#include <string>

#include "gpu/cuda_payload.h"
#include "gpu/descriptor_exchange.h"
#include "gpu/release_listener.h"
#include "segment/backend.h"
#include "segment/named_files.h"
#include "strata/gpu/cuda_options.h"
#include "strata/gpu/device.h"

namespace strata::inline v0_1 {

class CudaBackend final : public Backend {
 public:
  // `options.directory` is set.
  explicit CudaBackend(Os& os, CudaOptions options);

  std::string_view scheme() const override { return "cuda"; }
  const Capabilities& capabilities() const override;
  Result<SegmentStat> stat(const SegmentUri& uri) override;
  Result<void> remove(const SegmentUri& uri, const RemoveOptions& options) override;
  Result<std::vector<SegmentStat>> list(std::string_view container) override;
  Result<std::vector<ReclaimDecision>> reclaim(std::string_view container,
                                               const ReclaimOptions& options) override;

  const CudaOptions& options() const { return options_; }
  Os& os() const { return os_; }
  // The header of a segment, to look at. Errors: as NamedFiles::open().
  Result<Fd> open_header(const SegmentUri& uri) const {
    return files_.open(uri.name, Access::read_only);
  }
  // Asked when another process wants the memory of a segment back.
  const std::shared_ptr<cuda::ReleaseListener>& release_listener() const { return release_; }
  // The devices of the driver that the options name. Errors: no_driver, no_device.
  Result<std::shared_ptr<cuda::Devices>> devices() const;

  // Makes a segment of memory that somebody in this process has allocated with cudaMalloc (PyTorch,
  // RMM, CuPy), without a copy. The memory stays theirs, and must outlive the segment; the segment
  // ends with this attachment. Errors: as cuda::adopt_legacy(); as create().
  Result<Segment> adopt(const SegmentUri& uri, cuda::CuDevicePointer address, std::uint64_t bytes);

 protected:
  Result<Segment> do_create(const SegmentUri& uri, const CreateOptions& options) override;
  Result<Segment> do_attach(const SegmentUri& uri, const AttachOptions& options) override;
  Result<Segment> do_attach_handle(const Handle& handle, std::vector<Fd> descriptors,
                                   const AttachOptions& options) override;

 private:
  // What becomes the memory of a segment whose header has its name already.
  using MakeMemory = std::function<Result<cuda::ExportedMemory>()>;
  Result<Segment> create_with(const SegmentUri& uri, const CreateOptions& options,
                              cuda::Device& device, const MakeMemory& make_memory);
  Result<Segment> finish(const SegmentUri& uri, const IdentityBlock& identity,
                         std::unique_ptr<HeaderPlane> plane, const CreateOptions& options,
                         cuda::Device& device, const MakeMemory& make_memory);
  Result<Segment> attach_header(const SegmentUri& uri, Fd header, const AttachOptions& options,
                                Deadline deadline);
  // Maps the memory that the header speaks of, and shows this process among those who pin it and
  // hand it on.
  Result<void> bring_memory(CudaPayload& payload, const IdentityBlock& identity,
                            const AttachOptions& options, Deadline deadline);
  cuda::ServeRequest entry_of(const CudaPayload& payload, const IdentityBlock& identity) const;
  bool is_in_flux(int header) const;
  bool is_worth_another_try(int header) const;
  void add_device_facts(SegmentStat& stat) const;
  void reclaim_from_holder(ReclaimDecision& decision, const ReclaimOptions& options);
  std::function<void()> on_detach(const SegmentUri& uri, const IdentityBlock& identity);
  cuda::PeerPlace peers() const { return {options_.directory}; }

  Os& os_;
  CudaOptions options_;
  NamedFiles files_;
  std::shared_ptr<cuda::ReleaseListener> release_ = std::make_shared<cuda::ReleaseListener>();
  cuda::DescriptorServer server_;
};

}  // namespace strata::inline v0_1
