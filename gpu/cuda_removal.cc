// Looking at device segments and taking them away, without any driver.
#include <fcntl.h>
#include <fmt/format.h>

#include "gpu/cuda_backend.h"
#include "gpu/poll.h"
#include "strata/os/deadline.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kReleaseOffsetBytes =
    offsetof(HeaderPage, backend) + offsetof(DeviceBlock, release_requested);
constexpr std::uint64_t kLetGoMs = 1000;  // for holders and caches to let go

// Whether nobody but holders has it, and caches of what may be used again.
bool is_only_kept(const std::vector<cuda::Consumer>& consumers) {
  return std::all_of(consumers.begin(), consumers.end(), [](const cuda::Consumer& each) {
    return !each.is_alive() || each.role == cuda::PeerRole::holder;
  });
}

// A holder that is only starting keeps nothing yet.
bool is_held(const std::vector<cuda::Consumer>& consumers) {
  return std::any_of(consumers.begin(), consumers.end(), [](const cuda::Consumer& each) {
    return each.is_alive() && each.is_serving && each.role == cuda::PeerRole::holder;
  });
}

// For those who are not asked in person. A sealed header cannot be written to: then nothing is
// said.
void say_release(Os& os, const NamedFiles& files, const std::string& name, std::uint32_t word) {
  const auto header = files.open(name, Access::read_write);
  if (!header) return;
  (void)os.pwrite(header->get(), std::as_bytes(std::span(&word, 1)), kReleaseOffsetBytes);
}

}  // namespace

void CudaBackend::add_device_facts(SegmentStat& stat) const {
  if (stat.problem) return;
  const auto header = files_.open(stat.uri.name, Access::read_only);
  if (!header) return;
  alignas(HeaderPage) std::array<std::byte, kHeaderBytes> bytes{};
  const auto read = os_.pread(header->get(), bytes, 0);
  if (!read || *read != bytes.size()) return;
  const auto& page = *reinterpret_cast<const HeaderPage*>(bytes.data());
  const auto exported = read_export_block(page, stat.identity);
  if (!exported) {
    // One that is being made says nothing yet.
    const bool is_complete = stat.state != SegmentState::initialising;
    if (is_complete) stat.problem = exported.error();
    return;
  }
  const auto pinning =
      cuda::consumers(os_, {options_.directory, stat.owner_uid}, stat.identity.uuid);
  stat.device = DeviceStat{.uuid = exported->device_uuid,
                           .mechanism = static_cast<DeviceMechanism>(exported->mechanism),
                           .allocation_bytes = exported->allocation_bytes,
                           .pci_address = std::string(padded_text(exported->pci_address)),
                           .is_held = pinning && is_held(*pinning)};
}

Result<SegmentStat> CudaBackend::stat(const SegmentUri& uri) {
  STRATA_ASSIGN(SegmentStat facts, files_.stat(uri));
  add_device_facts(facts);
  return facts;
}

Result<std::vector<SegmentStat>> CudaBackend::list(std::string_view container) {
  if (!container.empty()) return std::vector<SegmentStat>();
  STRATA_ASSIGN(auto stats, files_.list());
  for (SegmentStat& each : stats)
    add_device_facts(each);
  return stats;
}

// What a holder keeps for a job has no other users once the job has ended, and is an orphan then.
void CudaBackend::reclaim_from_holder(ReclaimDecision& decision, const ReclaimOptions& options) {
  auto facts = files_.stat(decision.uri);
  if (!facts || facts->problem || !facts->is_attached) return;
  if (static_cast<Lifetime>(facts->identity.lifetime) != Lifetime::job) return;
  const cuda::PeerPlace place{options_.directory, facts->owner_uid};
  const auto pinning = cuda::consumers(os_, place, facts->identity.uuid);
  if (!pinning || !is_held(*pinning) || !is_only_kept(*pinning)) return;
  facts->is_attached = facts->is_attached_for_writing = false;
  const ReclaimDecision without = judge(*facts, options);
  if (!without.is_orphan) return;
  if (options.dry_run) {
    decision.is_orphan = true;
    decision.evidence = without.evidence + " but a holder";
    return;
  }
  const Deadline deadline = Deadline::after_ms(kLetGoMs);
  (void)cuda::ask_to_leave(os_, place, facts->identity.uuid, deadline);
  cuda::Poll poll(os_, deadline, cuda::Poll::Looks::costly);
  while (true) {
    auto again = files_.reclaim_one(decision.uri, options);
    if (again) decision = std::move(*again);
    if (!again || decision.was_reclaimed || poll.expired()) return;
    poll.pause();
  }
}

Result<std::vector<ReclaimDecision>> CudaBackend::reclaim(std::string_view container,
                                                          const ReclaimOptions& options) {
  if (!container.empty()) return std::vector<ReclaimDecision>();
  STRATA_ASSIGN(auto decisions, files_.reclaim(options));
  for (ReclaimDecision& decision : decisions)
    if (!decision.is_orphan) reclaim_from_holder(decision, options);
  // What killed processes left beside the headers pins nothing, and belongs to no segment.
  const auto sweep = options.dry_run ? cuda::Sweep::look : cuda::Sweep::remove;
  STRATA_TRY(cuda::sweep_peers(os_, options_.directory, sweep));
  return decisions;
}

// Those that only keep the memory are asked to let go: holders, and caches of what may be used
// again. Everybody else is in the way.
Result<void> CudaBackend::remove(const SegmentUri& uri, const RemoveOptions& options) {
  const auto facts = files_.stat(uri);
  const bool may_be_kept = facts && !facts->problem && facts->is_attached;
  if (!may_be_kept || options.even_if_attached) return files_.remove(uri, options);
  const cuda::PeerPlace place{options_.directory, facts->owner_uid};
  const Deadline deadline = Deadline::after_ms(kLetGoMs);
  say_release(os_, files_, uri.name, 1);
  (void)cuda::ask_to_release(os_, place, facts->identity.uuid, deadline);
  STRATA_ASSIGN(const auto pinning, cuda::consumers(os_, place, facts->identity.uuid));
  const bool may_go = is_only_kept(pinning);
  if (may_go) {
    (void)cuda::ask_to_leave(os_, place, facts->identity.uuid, deadline);
  }
  cuda::Poll poll(os_, deadline, cuda::Poll::Looks::costly);
  while (true) {
    auto removed = files_.remove(uri, options);
    const bool is_in_use = !removed && removed.error().code() == Code::failed_precondition;
    if (!is_in_use || !may_go || poll.expired()) {
      if (!removed) say_release(os_, files_, uri.name, 0);
      return removed;
    }
    poll.pause();
  }
}

}  // namespace strata::inline v0_1
