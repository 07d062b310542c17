#include "tests/fake_cuda/fake_cuda.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

#include "base/check.h"
#include "gpu/driver_abi.h"

namespace strata::inline v0_1::test {
namespace {

constexpr const char* kPrefix = "STRATA_FAKE_CUDA_";
constexpr int kKilled = -1;  // settings.h
constexpr int kKilledAfter = -2;

constexpr std::array kNames = {
#define STRATA_FAKE_CUDA_NAME(name, version, need, parameters) #name,
    STRATA_CUDA_CALLS(STRATA_FAKE_CUDA_NAME)
#undef STRATA_FAKE_CUDA_NAME
};

template <typename Function>
Function* control(const char* name) {
  void* const library = ::dlopen(fake_driver_path().c_str(), RTLD_NOW | RTLD_NOLOAD);
  STRATA_CHECK(library != nullptr);
  void* const found = ::dlsym(library, name);
  STRATA_CHECK(found != nullptr);
  return reinterpret_cast<Function*>(found);
}

void plan(const char* name, std::uint64_t nth, int what) {
  control<void(const char*, std::uint64_t, int)>("strata_fake_cuda_fail")(name, nth, what);
}

}  // namespace

std::string fake_driver_directory() {
  // Bazel starts a test in the runfiles of the workspace, and says where they are.
  std::filesystem::path root = std::filesystem::current_path();
  if (const char* source = ::getenv("TEST_SRCDIR")) {
    const char* const workspace = ::getenv("TEST_WORKSPACE");
    root = std::filesystem::path(source) / (workspace ? workspace : "_main");
  }
  return root / "tests/fake_cuda";
}

std::string fake_driver_path() { return fake_driver_directory() + "/libcuda.so.1"; }

FakeDevices::FakeDevices(FakeMachine machine) : directory_("/dev/shm") {
  set("DIR", directory_.path());
  set("DEVICES", std::to_string(machine.devices));
  set("BYTES", std::to_string(machine.device_bytes));
  STRATA_CHECK(std::filesystem::create_directory(directory_ / "counts"));
  set("COUNTS", directory_ / "counts");
  for (const auto& [name, value] : machine.more)
    set(name, value);
  // As /dev has them before any process uses the driver.
  for (int number = 0; number < machine.devices; ++number) {
    const std::string path = directory_ / ("nvidia" + std::to_string(number));
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    STRATA_CHECK(fd >= 0);
    ::close(fd);
  }
}

FakeDevices::~FakeDevices() {
  for (const auto& [name, value] : before_)
    set(name, value);
}

void FakeDevices::set(const std::string& name, const std::string& value) {
  const std::string variable = kPrefix + name;
  const char* const old = ::getenv(variable.c_str());
  before_.emplace(name, old ? old : "");
  if (value.empty()) {
    ::unsetenv(variable.c_str());
  } else {
    ::setenv(variable.c_str(), value.c_str(), 1);
  }
}

std::uint64_t FakeDevices::calls(pid_t process, const std::string& name) const {
  const std::string path = directory_ / ("counts/" + std::to_string(process));
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  std::array<std::uint64_t, kNames.size()> counts{};
  const ssize_t got = ::read(fd, counts.data(), sizeof counts);
  ::close(fd);
  STRATA_CHECK(got == static_cast<ssize_t>(sizeof counts));
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (name == "*" || name == kNames[i]) sum += counts[i];
  return sum;
}

std::string fake_device_uuid(int number) {
  std::string bytes = "FAKE-CUDA-GPU-00";
  bytes[14] = static_cast<char>(bytes[14] + number / 10 % 10);
  bytes[15] = static_cast<char>(bytes[15] + number % 10);
  std::string text = "GPU-";
  for (std::size_t i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    std::array<char, 3> digits{};
    std::snprintf(digits.data(), digits.size(), "%02x", static_cast<unsigned>(bytes[i]));
    text += digits.data();
  }
  return text;
}

std::uint64_t fake_calls(const std::string& name) {
  return control<std::uint64_t(const char*)>("strata_fake_cuda_count")(name.c_str());
}

void fail_fake_call(const std::string& name, std::uint64_t nth, int result) {
  plan(name.c_str(), nth, result);
}
void kill_in_fake_call(const std::string& name, std::uint64_t nth) {
  plan(name.c_str(), nth, kKilled);
}
void kill_after_fake_call(const std::string& name, std::uint64_t nth) {
  plan(name.c_str(), nth, kKilledAfter);
}
void forget_fake_failures() { plan(nullptr, 0, 0); }

}  // namespace strata::inline v0_1::test
