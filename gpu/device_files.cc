#include "gpu/device_files.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "numa/gpu_devices.h"

namespace strata::inline v0_1::cuda {
namespace {

constexpr std::string_view kFileBeginning = "nvidia";

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// The address stands in a header, so that it is hostile: it becomes part of a path.
std::optional<int> minor_of(Os& os, std::string_view pci_address) {
  const bool is_address =
      !pci_address.empty() &&
      pci_address.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos;
  if (!is_address) return std::nullopt;
  std::string address(pci_address);
  std::transform(address.begin(), address.end(), address.begin(),
                 [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c; });
  return gpu_driver_facts(os, address).minor;
}

std::vector<std::string> candidates(Os& os, const std::string& directory,
                                    std::string_view pci_address) {
  if (const auto minor = minor_of(os, pci_address)) {
    return {fmt::format("{}{}", kFileBeginning, *minor)};
  }
  auto names = os.list_directory(directory);
  if (!names) return {};
  std::erase_if(*names, [](const std::string& name) {
    return !name.starts_with(kFileBeginning) ||
           !is_number(std::string_view(name).substr(kFileBeginning.size()));
  });
  return std::move(*names);
}

}  // namespace

DeviceFiles open_device_files(Os& os, const std::string& device_directory,
                              std::string_view pci_address) {
  DeviceFiles files;
  std::string opened;
  std::string refused;
  for (const std::string& name : candidates(os, device_directory, pci_address)) {
    auto file = os.open(device_directory + "/" + name, O_RDWR | O_NONBLOCK | O_NOCTTY);
    std::string& text = file ? opened : refused;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", file ? name : file.error().message());
    if (file) files.open.push_back(std::move(*file));
  }
  if (!files.open.empty()) {
    files.note = fmt::format("{} in {} kept open", opened, device_directory);
    return files;
  }
  files.note = fmt::format(
      "no device file in {} kept open{}{}: unless the driver is in persistence mode, the memory is "
      "lost when the last process that uses the device leaves",
      device_directory, refused.empty() ? "" : ": ", refused);
  return files;
}

}  // namespace strata::inline v0_1::cuda
