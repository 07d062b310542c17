#include "gpu/explain.h"

#include <fmt/format.h>

#include "gpu/mechanism.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::array kMechanisms = {DeviceMechanism::vmm_fd, DeviceMechanism::legacy_ipc,
                                    DeviceMechanism::fabric};

std::string_view what_is(DeviceMechanism mechanism) {
  switch (mechanism) {
    case DeviceMechanism::vmm_fd:
      return "a driver allocation behind a descriptor, which every process that is attached hands "
             "on: it outlives its creator";
    case DeviceMechanism::legacy_ipc:
      return "a CUDA IPC handle: the memory ends with the process that allocated it";
    case DeviceMechanism::fabric:
      return "a fabric handle: also for other machines of the NVLink domain, and its exporter must "
             "live";
    case DeviceMechanism::automatic: break;
  }
  return "";
}

std::vector<ExplainedMechanism> explain_mechanisms(cuda::Device& device, DeviceMechanism chosen) {
  std::vector<ExplainedMechanism> result;
  for (const DeviceMechanism mechanism : kMechanisms) {
    const auto checked = cuda::check_mechanism(device, mechanism);
    ExplainedMechanism one{mechanism, mechanism == chosen, checked.has_value(), {}};
    one.why = checked ? std::string(what_is(mechanism)) : checked.error().message();
    if (checked && mechanism != chosen) one.why += "; not chosen: only on request";
    result.push_back(std::move(one));
  }
  return result;
}

// Of a machine that has no driver, or of a device that this process does not see.
std::vector<ExplainedMechanism> only(DeviceMechanism chosen) {
  return {{chosen, true, false, std::string(what_is(chosen))}};
}

std::string pinned_by(Os& os, const std::string& directory, const SegmentStat& facts) {
  const auto pinning = cuda::consumers(os, {directory, facts.owner_uid}, facts.identity.uuid);
  if (!pinning) return "who is attached cannot be told: " + pinning.error().message();
  const std::string who = cuda::describe(*pinning);
  return who.empty() ? "nobody is attached, so that its memory is gone"
                     : "its memory is pinned by " + who;
}

// Whether this process could attach the segment, from what it sees of the machine.
std::string reach_of(const cuda::Devices& devices, const DeviceStat& device) {
  if (devices.find(device.uuid)) return "this process sees the device, and can attach it";
  return fmt::format("this process does not see {} (CUDA_VISIBLE_DEVICES), and cannot attach it",
                     cuda::device_uuid_text(device.uuid));
}

}  // namespace

Result<Explanation> explain_device(CudaBackend& backend, std::string_view text) {
  STRATA_ASSIGN(const auto devices, backend.devices());
  STRATA_ASSIGN(cuda::Device* const device, devices->find(text));
  Explanation result;
  result.device = device->describe();
  result.mechanisms = explain_mechanisms(*device, DeviceMechanism::vmm_fd);
  return result;
}

Result<Explanation> explain_segment(CudaBackend& backend, const SegmentUri& uri) {
  STRATA_ASSIGN(const SegmentStat facts, backend.stat(uri));
  if (facts.problem) return unexpected(facts.problem->in("explain " + uri.to_string()));
  if (!facts.device) {
    return fail(Code::not_ready, fmt::format("explain {}: its creator has not said yet where its "
                                             "memory is",
                                             uri.to_string()));
  }
  const DeviceStat& at = *facts.device;
  Explanation result;
  result.device = fmt::format("{} at {}", cuda::device_uuid_text(at.uuid), at.pci_address);
  result.notes.push_back(pinned_by(backend.os(), backend.options().directory, facts));
  const auto devices = backend.devices();
  cuda::Device* const device = devices ? (*devices)->find(at.uuid) : nullptr;
  if (device) {
    result.device = device->describe();
    result.mechanisms = explain_mechanisms(*device, at.mechanism);
  } else {
    result.mechanisms = only(at.mechanism);
  }
  result.notes.push_back(devices ? reach_of(**devices, at)
                                 : "this process cannot attach it: " + devices.error().message());
  return result;
}

}  // namespace strata::inline v0_1
