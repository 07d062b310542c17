#include "tools/view/gpu_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "gpu/driver.h"
#include "gpu/fake_device.h"
#include "strata/base/bytes.h"
#include "tools/view/segment_view.h"

namespace strata::inline v0_1::tools {
namespace {

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

std::vector<GpuDevice> kernel_gpus(Os& os) {
  const auto topology = Topology::from_machine(os);
  return topology ? find_gpus(os, *topology) : std::vector<GpuDevice>();
}

GpuRow row_of(cuda::Device& device) {
  return {.number = device.ordinal(),
          .name = device.name(),
          .uuid = cuda::device_uuid_text(device.uuid()),
          .pci_address = device.pci_address(),
          .total_bytes = device.total_bytes(),
          .node = {},
          .device = &device};
}

GpuRow row_of(const GpuDevice& gpu) {
  return {.number = {},
          .name = gpu.driver.model,
          .uuid = gpu.driver.uuid,
          .pci_address = gpu.pci_address,
          .total_bytes = 0,
          .node = gpu.node,
          .device = nullptr};
}

}  // namespace

CudaBackend& cuda_backend(Context& context) {
  const auto backend = context.catalog().backend("cuda");
  STRATA_CHECK(backend);
  auto* const cuda = dynamic_cast<CudaBackend*>(*backend);
  STRATA_CHECK(cuda != nullptr);
  return *cuda;
}

Result<SegmentUri> device_uri(const std::string& text) {
  STRATA_ASSIGN(SegmentUri uri, SegmentUri::parse(text));
  if (uri.scheme == "cuda") return uri;
  return fail(Code::invalid_argument, text + " is no memory of a device: cuda:NAME is");
}

GpuList list_gpus(Context& context) {
  GpuList list;
  auto devices = cuda_backend(context).devices();
  if (devices) {
    list.devices = *std::move(devices);
    for (const auto& device : list.devices->all())
      list.gpus.push_back(row_of(*device));
  } else {
    list.problem = devices.error();
  }
  for (const GpuDevice& gpu : kernel_gpus(context.os())) {
    const auto known = std::find_if(list.gpus.begin(), list.gpus.end(), [&](const GpuRow& row) {
      return row.pci_address == gpu.pci_address;
    });
    if (known == list.gpus.end()) {
      list.gpus.push_back(row_of(gpu));
    } else {
      known->node = gpu.node;
    }
  }
  return list;
}

Json to_json(const GpuRow& gpu) {
  return {{"number", or_null(gpu.number)},
          {"name", text_or_null(gpu.name)},
          {"uuid", text_or_null(gpu.uuid)},
          {"address", gpu.pci_address},
          {"total_bytes", gpu.total_bytes == 0 ? Json() : Json(gpu.total_bytes)},
          {"node", or_null(gpu.node)},
          {"fake", gpu.device != nullptr && cuda::is_fake(gpu.device->uuid())}};
}

Json driver_json(const GpuList& list) {
  if (!list.devices) return nullptr;
  const cuda::Driver& driver = list.devices->driver();
  return {{"library", driver.library()}, {"cuda", cuda_version_text(driver.version())}};
}

std::string cuda_version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

Result<std::vector<cuda::Consumer>> living_consumers(Context& context, const SegmentStat& stat) {
  const std::string& directory = cuda_backend(context).options().directory;
  STRATA_ASSIGN(auto all,
                cuda::consumers(context.os(), {directory, stat.owner_uid}, stat.identity.uuid));
  std::erase_if(all, [](const cuda::Consumer& each) { return !each.is_alive(); });
  return all;
}

void add_device(Facts& facts, const DeviceStat& device) {
  facts.add("on",
            fmt::format("GPU {} ({})", device.pci_address, cuda::device_uuid_text(device.uuid)));
  facts.add("shared by", std::string(mechanism_name(device.mechanism)));
  facts.add("takes", format_bytes(device.allocation_bytes));
  facts.add("held", device.is_held
                        ? Cell("yes, also when nobody else is attached")
                        : Cell("no: it is gone with the last who is attached", Tone::dim));
}

Json to_json(const cuda::Consumer& consumer) {
  return {{"pid", consumer.pid},
          {"command", consumer.command},
          {"role", cuda::peer_role_name(consumer.role)},
          {"writes", consumer.access == Access::read_write},
          {"state", cuda::peer_state_name(consumer.state)},
          {"since", utc_time(consumer.since_unix_ns)}};
}

Json to_json(const std::vector<cuda::Consumer>& consumers) {
  Json list = Json::array();
  for (const cuda::Consumer& consumer : consumers)
    list.push_back(to_json(consumer));
  return list;
}

Cell pinned_by(const Result<std::vector<cuda::Consumer>>& consumers) {
  if (!consumers) return {consumers.error().message(), Tone::warning};
  if (consumers->empty()) return {"nobody", Tone::dim};
  return {cuda::describe(*consumers), Tone::plain};
}

}  // namespace strata::inline v0_1::tools
