#include "numa/gpu_devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "numa/sysfs.h"
#include "os/os.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint32_t kNvidia = 0x10de;
constexpr std::uint32_t kDisplay = 0x0300;      // VGA controller
constexpr std::uint32_t kAccelerator = 0x0302;  // 3D controller
constexpr const char* kDriverDirectory = "/proc/driver/nvidia/gpus/";

std::string trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t\r") - first + 1));
}

// The value of "Key: \t value" on a line of its own.
std::string value_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.starts_with(key) && line.substr(key.size()).starts_with(":"))
      return trimmed(line.substr(key.size() + 1));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return {};
}

bool is_gpu(const PciDevice& device) {
  return device.vendor == kNvidia &&
         (device.class_code == kDisplay || device.class_code == kAccelerator);
}

std::optional<int> only_node(const Topology& topology) {
  std::optional<int> only;
  for (const MemoryNode& node : topology.nodes()) {
    if (node.memory_bytes == 0) continue;
    if (only) return {};
    only = node.node;
  }
  return topology.forbidden_nodes().empty() ? only : std::nullopt;
}

bool is_same_uuid(std::string_view left, std::string_view right) {
  const auto digits = [](std::string_view uuid) {
    std::string text;
    for (const char c : uuid.starts_with("GPU-") ? uuid.substr(4) : uuid)
      text += c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    return text;
  };
  return !left.empty() && digits(left) == digits(right);
}

std::string names_of(const std::vector<GpuDevice>& gpus) {
  std::string names;
  for (const GpuDevice& gpu : gpus)
    names += (names.empty() ? "" : ", ") + gpu.describe();
  return names.empty() ? "this machine shows no NVIDIA GPU" : "there is " + names;
}

}  // namespace

GpuDriverFacts gpu_driver_facts(Os& os, const std::string& pci_address) {
  const std::string text = read_trimmed(os, kDriverDirectory + pci_address + "/information");
  GpuDriverFacts facts{value_of(text, "Model"), value_of(text, "GPU UUID"), {}};
  // Before the driver has started the device it shows question marks.
  if (facts.uuid.find('?') != std::string::npos) facts.uuid.clear();
  if (const auto minor = parse_number(value_of(text, "Device Minor")); minor && *minor < 65536)
    facts.minor = static_cast<int>(*minor);
  return facts;
}

std::string GpuDevice::describe() const {
  return fmt::format("gpu:{} ({}{}{})", number, driver.model, driver.model.empty() ? "" : ", ",
                     pci_address);
}

std::vector<GpuDevice> find_gpus(Os& os, const Topology& topology) {
  std::vector<GpuDevice> gpus;
  for (const PciDevice& device : topology.pci_devices()) {
    if (!is_gpu(device)) continue;
    gpus.emplace_back();
    gpus.back().pci_address = device.address;
    gpus.back().node = device.node;
  }
  if (topology.is_this_machine()) {
    // A container that hides /sys may show these.
    const auto shown = os.list_directory(kDriverDirectory);
    for (const std::string& address : shown ? *shown : std::vector<std::string>()) {
      const bool is_known = std::any_of(gpus.begin(), gpus.end(), [&](const GpuDevice& gpu) {
        return gpu.pci_address == address;
      });
      if (is_known) continue;
      gpus.emplace_back();
      gpus.back().pci_address = address;
    }
  }
  std::sort(gpus.begin(), gpus.end(),
            [](const auto& a, const auto& b) { return a.pci_address < b.pci_address; });
  int number = 0;
  for (GpuDevice& gpu : gpus) {
    gpu.number = number++;
    if (topology.is_this_machine()) gpu.driver = gpu_driver_facts(os, gpu.pci_address);
    if (!gpu.node) gpu.node = only_node(topology);
  }
  return gpus;
}

Result<GpuDevice> choose_gpu(const std::vector<GpuDevice>& gpus, std::string_view which) {
  std::string_view text = which;
  if (text.starts_with("gpu:")) text.remove_prefix(4);
  int number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  bool is_uuid_told = false;
  for (const GpuDevice& gpu : gpus) {
    if (is_number ? gpu.number == number : is_same_uuid(gpu.driver.uuid, text)) return gpu;
    is_uuid_told = is_uuid_told || !gpu.driver.uuid.empty();
  }
  const bool lacks_uuids = !is_number && !gpus.empty() && !is_uuid_told;
  return fail(Code::not_found,
              fmt::format("GPU '{}': {}{}", which, names_of(gpus),
                          lacks_uuids ? "; their UUIDs are told where NVIDIA's kernel driver is "
                                        "loaded: name one by its number"
                                      : ""));
}

}  // namespace strata::inline v0_1
