#include "gpu/mechanism.h"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "gpu/driver.h"
#include "gpu/legacy_memory.h"

namespace strata::inline v0_1::cuda {
namespace {

constexpr std::string_view kRemedy =
    "; choose another mechanism (ipc), or keep the data in shm: and use map_to_device()";

// What was found out, by device and mechanism.
struct Known {
  std::mutex mutex;
  std::set<std::pair<const Device*, DeviceMechanism>> possible;
  std::map<const Device*, DescriptorKind> kinds;
};

Known& known() {
  static auto& known = *new Known;
  return known;
}

// An answer about the device. Any other is about this moment, or about this process alone.
bool is_refusal(Code code) {
  return code == Code::invalid_argument || code == Code::no_device || code == Code::unsupported ||
         code == Code::permission_denied;
}

// `why` as it is told of a mechanism that was tried.
Status refusal(const Device& device, std::string_view what, const Status& why) {
  return Status(is_refusal(why.code()) ? Code::unsupported : why.code(),
                fmt::format("{} {}: {}", device.describe(), what, why.message()))
      .with_driver_result(why.driver_result());
}

Result<void> check_attribute(const Device& device, CuDeviceAttribute attribute,
                             std::string_view what) {
  STRATA_ASSIGN(const int value, device.attribute(attribute));
  if (value != 0) return {};
  return fail(Code::unsupported, fmt::format("{} {}", device.describe(), what));
}

Result<void> try_vmm(Device& device, DeviceMechanism mechanism) {
  STRATA_TRY(device.driver().require(DriverFeature::virtual_memory));
  STRATA_TRY(check_attribute(device, kAttributeVirtualMemoryManagementSupported,
                             "has no virtual memory management"));
  if (mechanism == DeviceMechanism::fabric) {
    STRATA_TRY(check_attribute(device, kAttributeHandleTypeFabricSupported,
                               "is on no NVLink fabric that exports memory"));
  } else {
    STRATA_TRY(check_attribute(device, kAttributeHandleTypePosixFdSupported,
                               "exports no memory as descriptors"));
  }
  // The attributes say what the device could; only a real one says what it may.
  const auto tried = create_vmm(device, 1, mechanism);
  if (tried) return {};
  return unexpected(
      refusal(device, fmt::format("refuses to export memory as {}", mechanism_name(mechanism)),
              tried.error()));
}

Result<void> try_legacy(Device& device) {
  const auto tried = create_legacy(device, 1);
  if (tried) return {};
  return unexpected(refusal(device, "gives out no IPC handles", tried.error()));
}

}  // namespace

Result<void> check_mechanism(Device& device, DeviceMechanism mechanism) {
  if (device.driver().is_forked()) return device.driver().check(kNotInitialized, "probe");
  Known& all = known();
  const std::pair<const Device*, DeviceMechanism> key{&device, mechanism};
  {
    const std::lock_guard lock(all.mutex);
    if (all.possible.contains(key)) return {};
  }
  const bool is_legacy = mechanism == DeviceMechanism::legacy_ipc;
  auto answer = is_legacy ? try_legacy(device) : try_vmm(device, mechanism);
  // A refusal is asked for again: it costs the same few calls, and a failure that passes, such as
  // that of a full device, is not taken for one.
  if (answer) {
    const std::lock_guard lock(all.mutex);
    all.possible.insert(key);
  }
  return answer;
}

Result<DeviceMechanism> choose_mechanism(Device& device, DeviceMechanism wanted) {
  const bool is_automatic = wanted == DeviceMechanism::automatic;
  const DeviceMechanism meant = is_automatic ? DeviceMechanism::vmm_fd : wanted;
  const auto checked = check_mechanism(device, meant);
  if (checked) return meant;
  const Status& why = checked.error();
  std::string message = why.message();
  if (is_automatic && why.code() == Code::unsupported) message += kRemedy;
  return unexpected(Status(why.code(), std::move(message)).with_driver_result(why.driver_result()));
}

Result<DescriptorKind> exported_kind(Os& os, Device& device) {
  Known& all = known();
  {
    const std::lock_guard lock(all.mutex);
    const auto found = all.kinds.find(&device);
    if (found != all.kinds.end()) return found->second;
  }
  STRATA_ASSIGN(const ExportedMemory probe, create_vmm(device, 1, DeviceMechanism::vmm_fd));
  STRATA_ASSIGN(const DescriptorKind kind, descriptor_kind(os, probe.exported.descriptor.get()));
  const std::lock_guard lock(all.mutex);
  all.kinds.insert_or_assign(&device, kind);
  return kind;
}

}  // namespace strata::inline v0_1::cuda
