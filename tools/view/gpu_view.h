// GPUs and device segments as the commands show them: with a driver and without one.
//   Threads:  one.
//   Errors:   see each function; what cannot be found out is said, and does not keep the rest away.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gpu/cuda_backend.h"
#include "gpu/descriptor_exchange.h"
#include "numa/gpu_devices.h"
#include "strata/gpu/device.h"
#include "tools/command/command.h"
#include "tools/terminal/output.h"

namespace strata::inline v0_1::tools {

CudaBackend& cuda_backend(Context& context);
// Errors: invalid_argument for what is no "cuda:NAME".
Result<SegmentUri> device_uri(const std::string& text);

// A GPU of this machine, by what the driver tells, or the kernel where there is no driver.
struct GpuRow {
  std::optional<int> number;  // as CUDA counts; nothing where the driver does not show it
  std::string name;
  std::string uuid;  // empty where nobody tells
  std::string pci_address;
  std::uint64_t total_bytes = 0;  // 0 without a driver
  std::optional<int> node;        // the nearest
  cuda::Device* device = nullptr;
};

struct GpuList {
  std::vector<GpuRow> gpus;
  std::shared_ptr<cuda::Devices> devices;  // null without a driver
  std::optional<Status> problem;           // why there is none
};
GpuList list_gpus(Context& context);
Json to_json(const GpuRow& gpu);
// What the driver is, or null.
Json driver_json(const GpuList& list);
// "12.4"
std::string cuda_version_text(int version);

// Who pins the memory of a segment; oldest first, the dead left out. Errors: permission_denied for
// segments of another user.
Result<std::vector<cuda::Consumer>> living_consumers(Context& context, const SegmentStat& stat);
// "on", "shared by", "takes", "held".
void add_device(Facts& facts, const DeviceStat& device);
Json to_json(const cuda::Consumer& consumer);
Json to_json(const std::vector<cuda::Consumer>& consumers);
// "pid 4711 (trainer), holder pid 4712 (strata)", "nobody", or why that cannot be seen.
Cell pinned_by(const Result<std::vector<cuda::Consumer>>& consumers);

}  // namespace strata::inline v0_1::tools
