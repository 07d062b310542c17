#include "strata/gpu/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>

#include "gpu/driver.h"
#include "strata/segment/header.h"

namespace strata::inline v0_1::cuda {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string device_uuid_text(const DeviceUuid& uuid) { return "GPU-" + uuid_text(uuid); }

Result<DeviceUuid> parse_device_uuid(std::string_view text) {
  std::string_view digits = text;
  if (digits.starts_with("GPU-") || digits.starts_with("MIG-")) digits.remove_prefix(4);
  DeviceUuid uuid{};
  std::size_t count = 0;
  for (const char c : digits) {
    if (c == '-') continue;
    const int digit = hex_digit(c);
    if (digit < 0 || count == 2 * uuid.size()) {
      count = 0;
      break;
    }
    uuid[count / 2] = static_cast<std::uint8_t>(uuid[count / 2] << 4 | digit);
    ++count;
  }
  if (count == 2 * uuid.size()) return uuid;
  return fail(Code::invalid_argument,
              fmt::format("device '{}': neither a number nor a UUID (GPU-12345678-…)", text));
}

ContextScope::~ContextScope() {
  CuContext left = nullptr;
  if (driver_ && driver_->is_usable()) (void)driver_->call().cuCtxPopCurrent(&left);
}

Device::~Device() {
  if (context_ && driver_.is_usable()) (void)driver_.call().cuDevicePrimaryCtxRelease(number_);
}

std::string Device::describe() const {
  return fmt::format("device {} ({}, {})", ordinal_, name_, device_uuid_text(uuid_));
}

Result<void> Device::read_facts() {
  STRATA_TRY(STRATA_CUDA(driver_, cuDeviceGet, &number_, ordinal_));
  CuUuid uuid{};
  STRATA_TRY(STRATA_CUDA(driver_, cuDeviceGetUuid, &uuid, number_));
  std::memcpy(uuid_.data(), uuid.bytes, uuid_.size());
  std::array<char, 256> text{};
  STRATA_TRY(STRATA_CUDA(driver_, cuDeviceGetName, text.data(), static_cast<int>(text.size() - 1),
                         number_));
  name_ = text.data();
  text = {};
  STRATA_TRY(STRATA_CUDA(driver_, cuDeviceGetPCIBusId, text.data(),
                         static_cast<int>(text.size() - 1), number_));
  pci_address_ = text.data();
  // As /sys spells it.
  std::transform(pci_address_.begin(), pci_address_.end(), pci_address_.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::size_t bytes = 0;
  STRATA_TRY(STRATA_CUDA(driver_, cuDeviceTotalMem, &bytes, number_));
  total_bytes_ = bytes;
  return {};
}

Result<int> Device::attribute(CuDeviceAttribute attribute) const {
  int value = 0;
  STRATA_TRY(STRATA_CUDA(driver_, cuDeviceGetAttribute, &value, attribute, number_));
  return value;
}

Result<bool> Device::can_reach(const Device& owner) const {
  if (&owner == this) return true;
  if (!driver_.call().cuDeviceCanAccessPeer) return false;
  int can = 0;
  STRATA_TRY(STRATA_CUDA(driver_, cuDeviceCanAccessPeer, &can, number_, owner.number_));
  return can != 0;
}

Result<std::uint64_t> Device::free_bytes() {
  STRATA_ASSIGN(const ContextScope scope, enter());
  std::size_t free = 0;
  std::size_t total = 0;
  STRATA_TRY(STRATA_CUDA(driver_, cuMemGetInfo, &free, &total));
  return free;
}

Result<ContextScope> Device::enter() {
  CuContext context = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (!context_) {
      STRATA_TRY(STRATA_CUDA(driver_, cuDevicePrimaryCtxRetain, &context_, number_));
    }
    context = context_;
  }
  STRATA_TRY(STRATA_CUDA(driver_, cuCtxPushCurrent, context));
  return ContextScope(driver_);
}

Result<std::shared_ptr<Devices>> Devices::load(const std::string& library) {
  static std::mutex mutex;
  // As the driver, for the life of the process.
  static auto& loaded = *new std::shared_ptr<Devices>;
  STRATA_ASSIGN(std::shared_ptr<const Driver> driver, Driver::load(library));
  const std::lock_guard lock(mutex);
  if (loaded) return loaded;
  std::shared_ptr<Devices> devices(new Devices(std::move(driver)));
  int count = 0;
  STRATA_TRY(STRATA_CUDA(devices->driver(), cuDeviceGetCount, &count));
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    auto device = std::make_unique<Device>(devices->driver(), ordinal);
    STRATA_TRY(device->read_facts());
    devices->devices_.push_back(std::move(device));
  }
  loaded = devices;
  return loaded;
}

Device* Devices::find(const DeviceUuid& uuid) const {
  for (const auto& device : devices_)
    if (device->uuid() == uuid) return device.get();
  return nullptr;
}

Result<Device*> Devices::find(std::string_view text) const {
  if (text.empty()) {
    CuDevice current = 0;
    const bool has_context = driver_->call().cuCtxGetDevice(&current) == kSuccess;
    for (const auto& device : devices_)
      if (!has_context || device->number() == current) return device.get();
    return devices_.front().get();
  }
  const auto none = [&] {
    std::string names;
    for (const auto& device : devices_)
      names += fmt::format("{}{}", names.empty() ? "" : ", ", device->describe());
    return fail(Code::no_device, fmt::format("device '{}': there is {}", text, names));
  };
  int ordinal = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ordinal);
  if (error == std::errc() && end == text.data() + text.size()) {
    if (ordinal < 0 || static_cast<std::size_t>(ordinal) >= devices_.size()) return none();
    return devices_[static_cast<std::size_t>(ordinal)].get();
  }
  STRATA_ASSIGN(const DeviceUuid uuid, parse_device_uuid(text));
  Device* const device = find(uuid);
  if (!device) return none();
  return device;
}

}  // namespace strata::inline v0_1::cuda
