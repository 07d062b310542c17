#include "tests/fake_cuda/settings.h"

#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace strata::inline v0_1::fake_cuda {
namespace {

std::string text_of(const char* variable) {
  const char* value = ::getenv(variable);
  return value ? value : "";
}

std::uint64_t number_of(const char* variable, std::uint64_t otherwise) {
  const std::string text = text_of(variable);
  return text.empty() ? otherwise : std::strtoull(text.c_str(), nullptr, 0);
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

int failure_of(const std::string& text) {
  if (text == "killed") return kKilled;
  if (text == "killed-after") return kKilledAfter;
  return std::atoi(text.c_str());
}

Settings read_environment() {
  Settings s;
  s.directory = text_of("STRATA_FAKE_CUDA_DIR");
  if (s.directory.empty()) s.directory = "/dev/shm/fake-cuda-" + std::to_string(::geteuid());
  s.devices = static_cast<int>(number_of("STRATA_FAKE_CUDA_DEVICES", 1));
  s.device_bytes = number_of("STRATA_FAKE_CUDA_BYTES", s.device_bytes);
  s.has_peer_access = number_of("STRATA_FAKE_CUDA_PEER", 1) != 0;
  s.pci_addresses = split(text_of("STRATA_FAKE_CUDA_PCI"), ',');
  for (const std::string& item : split(text_of("STRATA_FAKE_CUDA_ATTRIBUTES"), ',')) {
    const std::vector<std::string> pair = split(item, '=');
    if (pair.size() == 2) s.attributes[std::atoi(pair[0].c_str())] = std::atoi(pair[1].c_str());
  }
  s.has_fabric = number_of("STRATA_FAKE_CUDA_FABRIC", 0) != 0;
  s.is_persistent = number_of("STRATA_FAKE_CUDA_PERSISTENCE", 0) != 0;
  s.delay_us = static_cast<unsigned>(number_of("STRATA_FAKE_CUDA_DELAY_US", 0));
  s.version = static_cast<int>(number_of("STRATA_FAKE_CUDA_VERSION", 13000));
  s.without = split(text_of("STRATA_FAKE_CUDA_WITHOUT"), ',');
  for (const std::string& item : split(text_of("STRATA_FAKE_CUDA_FAIL"), ',')) {
    const std::vector<std::string> parts = split(item, ':');
    if (parts.size() != 3) continue;
    s.failures.push_back(
        {parts[0], std::strtoull(parts[1].c_str(), nullptr, 0), failure_of(parts[2])});
  }
  s.counts_directory = text_of("STRATA_FAKE_CUDA_COUNTS");
  if (const char* visible = ::getenv("CUDA_VISIBLE_DEVICES")) s.visible_devices = visible;
  return s;
}

}  // namespace

const Settings& settings() {
  // Never destroyed: the driver is called until the very end of a process.
  static const Settings& read = *new Settings(read_environment());
  return read;
}

}  // namespace strata::inline v0_1::fake_cuda
