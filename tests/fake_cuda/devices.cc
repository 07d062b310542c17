#include "tests/fake_cuda/devices.h"

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string_view>

#include "tests/fake_cuda/settings.h"

namespace strata::inline v0_1::fake_cuda {
namespace {

FakeDevice make_device(int number) {
  FakeDevice device{
      number, {}, "FAKE CUDA device " + std::to_string(number) + " (no hardware)", ""};
  constexpr std::string_view kUuid = "FAKE-CUDA-GPU-00";
  static_assert(kUuid.size() == sizeof device.uuid.bytes);
  std::memcpy(device.uuid.bytes, kUuid.data(), kUuid.size());
  device.uuid.bytes[14] = static_cast<std::uint8_t>(device.uuid.bytes[14] + number / 10 % 10);
  device.uuid.bytes[15] = static_cast<std::uint8_t>(device.uuid.bytes[15] + number % 10);
  const auto& given = settings().pci_addresses;
  if (static_cast<std::size_t>(number) < given.size()) {
    device.pci_address = given[static_cast<std::size_t>(number)];
  } else {
    char address[32];
    std::snprintf(address, sizeof address, "FA4E:%02X:00.0", number);
    device.pci_address = address;
  }
  return device;
}

std::string uuid_text(const CuUuid& uuid) {
  std::string text = "GPU-";
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", uuid.bytes[i]);
    text += digits;
  }
  return text;
}

// -1 where `item` means no device: a number, or the beginning of one UUID.
int number_of(const std::string& item, const std::vector<FakeDevice>& all) {
  if (item.starts_with("GPU-")) {
    int found = -1;
    for (const FakeDevice& device : all) {
      if (!uuid_text(device.uuid).starts_with(item)) continue;
      if (found >= 0) return -1;
      found = device.number;
    }
    return found;
  }
  int number = 0;
  char rest = 0;
  if (std::sscanf(item.c_str(), "%d%c", &number, &rest) != 1) return -1;
  return number >= 0 && static_cast<std::size_t>(number) < all.size() ? number : -1;
}

std::vector<FakeDevice> find_visible() {
  std::vector<FakeDevice> all;
  for (int number = 0; number < settings().devices; ++number)
    all.push_back(make_device(number));
  if (!settings().visible_devices) return all;
  std::vector<FakeDevice> visible;
  std::set<int> seen;
  std::string_view rest = *settings().visible_devices;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    const int number = number_of(std::string(rest.substr(0, comma)), all);
    // What follows an item that means nothing is not seen; an item given twice hides all.
    if (number < 0) break;
    if (!seen.insert(number).second) return {};
    visible.push_back(all[static_cast<std::size_t>(number)]);
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  return visible;
}

std::vector<CuContextObject>& contexts() {
  static auto& all = *new std::vector<CuContextObject>([] {
    std::vector<CuContextObject> made;
    for (std::size_t i = 0; i < devices().size(); ++i) {
      made.push_back({static_cast<CuDevice>(i), 0});
    }
    return made;
  }());
  return all;
}

// The contexts of a thread, the current one last. Without a destructor: static objects call the
// driver when those of their thread have run.
class ContextStack {
 public:
  bool empty() const { return count_ == 0; }
  CuContext back() const { return contexts_[count_ - 1]; }
  void push_back(CuContext context) {
    if (count_ == contexts_.size()) std::abort();
    contexts_[count_++] = context;
  }
  void pop_back() { --count_; }

 private:
  std::array<CuContext, 64> contexts_;
  std::size_t count_;
};

ContextStack& current_contexts() {
  static thread_local ContextStack stack{};
  return stack;
}

bool is_context(CuContext context) {
  for (CuContextObject& known : contexts())
    if (&known == context) return true;
  return false;
}

}  // namespace

const std::vector<FakeDevice>& devices() {
  static const auto& visible = *new std::vector<FakeDevice>(find_visible());
  return visible;
}

bool is_device(CuDevice device) {
  return device >= 0 && static_cast<std::size_t>(device) < devices().size();
}

CuDevice find_device(const CuUuid& uuid) {
  for (std::size_t i = 0; i < devices().size(); ++i) {
    if (std::memcmp(devices()[i].uuid.bytes, uuid.bytes, sizeof uuid.bytes) == 0) {
      return static_cast<CuDevice>(i);
    }
  }
  return -1;
}

bool can_reach(CuDevice device, CuDevice owner) {
  return device == owner || settings().has_peer_access;
}

CuResult check_context() {
  if (current_contexts().empty()) return kInvalidContext;
  return current_contexts().back()->retained > 0 ? kSuccess : kContextIsDestroyed;
}

CuDevice current_device() { return current_contexts().back()->device; }

}  // namespace strata::inline v0_1::fake_cuda

#include "tests/fake_cuda/entry.h"

using namespace strata::fake_cuda;

CuResult cuDevicePrimaryCtxRetain(CuContext* context, CuDevice device) {
  FAKE_CUDA_ENTER(cuDevicePrimaryCtxRetain);
  FAKE_CUDA_REQUIRE(context, kInvalidValue);
  FAKE_CUDA_REQUIRE(is_device(device), kInvalidDevice);
  *context = &contexts()[static_cast<std::size_t>(device)];
  ++(*context)->retained;
  return kSuccess;
}

CuResult cuDevicePrimaryCtxRelease(CuDevice device) {
  FAKE_CUDA_ENTER(cuDevicePrimaryCtxRelease);
  FAKE_CUDA_REQUIRE(is_device(device), kInvalidDevice);
  CuContextObject& context = contexts()[static_cast<std::size_t>(device)];
  FAKE_CUDA_REQUIRE(context.retained > 0, kInvalidContext);
  --context.retained;
  return kSuccess;
}

CuResult cuCtxPushCurrent(CuContext context) {
  FAKE_CUDA_ENTER(cuCtxPushCurrent);
  FAKE_CUDA_REQUIRE(context, kInvalidValue);
  FAKE_CUDA_REQUIRE(is_context(context), kInvalidContext);
  current_contexts().push_back(context);
  return kSuccess;
}

CuResult cuCtxPopCurrent(CuContext* context) {
  FAKE_CUDA_ENTER(cuCtxPopCurrent);
  FAKE_CUDA_REQUIRE(!current_contexts().empty(), kInvalidContext);
  if (context) *context = current_contexts().back();
  current_contexts().pop_back();
  return kSuccess;
}

CuResult cuCtxGetCurrent(CuContext* context) {
  FAKE_CUDA_ENTER(cuCtxGetCurrent);
  FAKE_CUDA_REQUIRE(context, kInvalidValue);
  *context = current_contexts().empty() ? nullptr : current_contexts().back();
  return kSuccess;
}

CuResult cuCtxGetDevice(CuDevice* device) {
  FAKE_CUDA_ENTER(cuCtxGetDevice);
  FAKE_CUDA_REQUIRE(device, kInvalidValue);
  FAKE_CUDA_NEED_CONTEXT();
  *device = current_device();
  return kSuccess;
}
