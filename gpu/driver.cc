#include "gpu/driver.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <mutex>

#include "gpu/driver_calls.h"

namespace strata::inline v0_1::cuda {
namespace {

constexpr int kLeastVersion = 12000;
constexpr const char* kLibrary = "libcuda.so.1";

// CUdriverProcAddressQueryResult is an int that nobody needs: the pointer says it.
using GetProcAddress = CuResult (*)(const char* name, void** pointer, int version,
                                    std::uint64_t flags, int* found);

enum class Need : std::uint8_t { required, optional };

Code code_of(CuResult result) {
  switch (result) {
    case kInvalidValue:
    case kInvalidHandle: return Code::invalid_argument;
    case kOutOfMemory: return Code::exhausted;
    case kNotFound: return Code::not_found;
    case kNotReady: return Code::not_ready;
    case kNoDevice:
    case kInvalidDevice: return Code::no_device;
    case kNotPermitted: return Code::permission_denied;
    case kNotSupported: return Code::unsupported;
    case kStubLibrary: return Code::no_driver;
    case kEccUncorrectable: return Code::corrupt;
    case kNotInitialized:
    case kDeinitialized:
    case kInvalidContext:
    case kAlreadyMapped:
    case kIllegalState:
    case kIllegalAddress:
    case kContextIsDestroyed:
    case kHostMemoryAlreadyRegistered:
    case kHostMemoryNotRegistered:
    case kSystemNotReady: return Code::failed_precondition;
    default: return Code::internal;
  }
}

// What a person can do about it, where that is known.
std::string_view remedy_of(CuResult result) {
  switch (result) {
    case kDeinitialized: return "; the process is ending, and the driver has gone before it";
    case kIllegalAddress:
      return "; a kernel or copy of this process touched memory that it may not, and its CUDA "
             "context is lost: start the process anew";
    case kEccUncorrectable: return "; the memory of the device is damaged";
    case kSystemNotReady: return "; start the fabric manager (nvidia-fabricmanager)";
    default: return "";
  }
}

}  // namespace

struct DriverLoader {
  explicit DriverLoader(Driver& driver) : driver(driver) {}

  Result<void> open(const std::string& library) {
    driver.library_ = library.empty() ? kLibrary : library;
    object = ::dlopen(driver.library_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (object) return {};
    const char* why = ::dlerror();
    return fail(Code::no_driver, fmt::format("the CUDA driver is not to be had ({}): it comes with "
                                             "the driver of the GPU, not with the toolkit",
                                             why ? why : driver.library_));
  }

  Result<void> resolve() {
    const auto get = reinterpret_cast<GetProcAddress>(::dlsym(object, "cuGetProcAddress_v2"));
    if (!get) return too_old("it has no cuGetProcAddress_v2");
    std::string missing;
    bool is_stub = false;
    const auto find = [&](const char* name, int version, Need need) -> void* {
      void* pointer = nullptr;
      int found = 0;
      const CuResult result = get(name, &pointer, version, kProcAddressLegacyStream, &found);
      is_stub = is_stub || result == kStubLibrary;
      if (result != kSuccess) pointer = nullptr;
      if (!pointer && need == Need::required) missing = name;
      return pointer;
    };
#define STRATA_CUDA_FIND(name, version, need, parameters) \
  driver.table_.name =                                    \
      reinterpret_cast<decltype(driver.table_.name)>(find(#name, version, Need::need));
    STRATA_CUDA_CALLS(STRATA_CUDA_FIND)
#undef STRATA_CUDA_FIND
    if (is_stub) return stub();
    if (!missing.empty()) return too_old("it has no " + missing);
    driver.table_ = counted(driver.table_);
    return {};
  }

  Result<void> start() {
    const DriverTable& call = driver.table_;
    const CuResult started = call.cuInit(0);
    if (started == kStubLibrary) return stub();
    if (started == kNoDevice) return no_device();
    if (started != kSuccess) {
      const Status why = driver.check(started, "cuInit").error();
      return unexpected(
          Status(Code::no_driver, fmt::format("{}: {}", driver.library_, why.message()))
              .with_driver_result(started));
    }
    driver.pid_ = ::getpid();
    STRATA_TRY(STRATA_CUDA(driver, cuDriverGetVersion, &driver.version_));
    if (driver.version_ < kLeastVersion) {
      return too_old(
          fmt::format("it is of CUDA {}.{}", driver.version_ / 1000, driver.version_ % 1000 / 10));
    }
    int count = 0;
    STRATA_TRY(STRATA_CUDA(driver, cuDeviceGetCount, &count));
    if (count == 0) return no_device();
    return {};
  }

  Unexpected stub() const {
    return unexpected(Status(Code::no_driver,
                             fmt::format("{} is the stub that the CUDA toolkit links with, not a "
                                         "driver: take its folder off the loader's path",
                                         driver.library_))
                          .with_driver_result(kStubLibrary));
  }
  Unexpected too_old(const std::string& why) const {
    return fail(Code::no_driver, fmt::format("{}: {}; CUDA 12.0 (driver 525) or newer is needed",
                                             driver.library_, why));
  }
  Unexpected no_device() const {
    return unexpected(Status(Code::no_device,
                             "the CUDA driver finds no device that this process "
                             "may use (CUDA_VISIBLE_DEVICES, /dev/nvidia*)")
                          .with_driver_result(kNoDevice));
  }

  Driver& driver;
  void* object = nullptr;
};

Result<std::shared_ptr<const Driver>> Driver::load(const std::string& library) {
  static std::mutex mutex;
  // Never destroyed: what static objects hold may end after this.
  static auto& loaded = *new std::shared_ptr<const Driver>;
  const std::lock_guard lock(mutex);
  if (loaded) {
    if (library.empty() || library == loaded->library_) return loaded;
    return fail(Code::failed_precondition,
                fmt::format("{}: this process has loaded {} already", library, loaded->library_));
  }
  std::shared_ptr<Driver> driver(new Driver);
  DriverLoader loader(*driver);
  STRATA_TRY(loader.open(library));
  STRATA_TRY(loader.resolve());
  STRATA_TRY(loader.start());
  loaded = driver;
  return loaded;
}

Result<int> Driver::installed_version(const std::string& library) {
  Driver driver;
  DriverLoader loader(driver);
  STRATA_TRY(loader.open(library));
  STRATA_TRY(loader.resolve());
  // It needs no cuInit before it.
  STRATA_TRY(STRATA_CUDA(driver, cuDriverGetVersion, &driver.version_));
  return driver.version_;
}

bool Driver::is_forked() const { return pid_ != 0 && pid_ != ::getpid(); }

Result<void> Driver::check(CuResult result, std::string_view what) const {
  if (result == kSuccess) return {};
  if (is_forked()) {
    return unexpected(
        Status(Code::failed_precondition,
               fmt::format("{}: CUDA cannot be used in a process that was forked after its first "
                           "use: start it with exec (Python: the spawn method)",
                           what))
            .with_driver_result(result));
  }
  const char* name = nullptr;
  const char* text = nullptr;
  (void)table_.cuGetErrorName(result, &name);
  (void)table_.cuGetErrorString(result, &text);
  return unexpected(
      Status(code_of(result),
             fmt::format("{}: {} ({}){}", what, text ? text : "the driver does not say",
                         name ? name : fmt::format("CUresult {}", static_cast<int>(result)),
                         remedy_of(result)))
          .with_driver_result(result));
}

Result<void> Driver::require(DriverFeature feature) const {
  const auto need = [&](bool has, std::string_view what) -> Result<void> {
    if (has) return {};
    return fail(Code::unsupported, fmt::format("the CUDA driver {}.{} has no {}", version_ / 1000,
                                               version_ % 1000 / 10, what));
  };
  const DriverTable& t = table_;
  switch (feature) {
    case DriverFeature::virtual_memory:
      return need(t.cuMemGetAllocationGranularity && t.cuMemCreate && t.cuMemRelease &&
                      t.cuMemAddressReserve && t.cuMemAddressFree && t.cuMemMap && t.cuMemUnmap &&
                      t.cuMemSetAccess && t.cuMemExportToShareableHandle &&
                      t.cuMemImportFromShareableHandle,
                  "virtual memory management (cuMemCreate and what belongs to it)");
    case DriverFeature::legacy_ipc:
      return need(t.cuIpcGetMemHandle && t.cuIpcOpenMemHandle && t.cuIpcCloseMemHandle,
                  "IPC handles (cuIpcGetMemHandle)");
    case DriverFeature::stream_values:
      return need(t.cuStreamWriteValue64 && t.cuStreamWaitValue64,
                  "stream memory operations (cuStreamWaitValue64)");
    case DriverFeature::kernels:
      return need(
          t.cuModuleLoadData && t.cuModuleUnload && t.cuModuleGetFunction && t.cuLaunchKernel,
          "modules (cuModuleLoadData)");
  }
  return {};
}

}  // namespace strata::inline v0_1::cuda
