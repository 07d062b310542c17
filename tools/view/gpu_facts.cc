#include "tools/view/gpu_facts.h"

#include <fmt/format.h>

#include "gpu/driver.h"
#include "gpu/fake_device.h"
#include "gpu/mechanism.h"
#include "strata/base/bytes.h"
#include "tools/view/gpu_view.h"

namespace strata::inline v0_1::tools {
namespace {

using cuda::Device;
using cuda::DriverFeature;

constexpr int kLeastComputeCapability = 7;  // the kernels are compiled for it

std::string kernel_driver(Os& os) {
  const auto text = os.read_file("/proc/driver/nvidia/version");
  return text ? text->substr(0, text->find('\n')) : std::string();
}

DoctorFact kernel_driver_fact(const std::string& version) {
  return {.name = "NVIDIA kernel driver",
          .value = version.empty() ? "not loaded" : version,
          .is_fine = true,
          .remedy = version.empty() ? "needed for cuda: segments only" : ""};
}

std::string remedy_of(const Status& problem, bool has_kernel_driver) {
  if (problem.code() == Code::no_device)
    return "pass the devices into the container (--gpus all), and look at CUDA_VISIBLE_DEVICES";
  // The library answered, and its message says what to do, or it needs the kernel's part.
  if (problem.driver_result() == cuda::kStubLibrary) return "";
  if (problem.driver_result() != 0) return has_kernel_driver ? "" : "load the kernel driver";
  return has_kernel_driver ? "install the library of that driver's version (libcuda1), or pass it "
                             "into the container (--gpus all)"
                           : "";
}

DoctorFact library_fact(const GpuList& list, bool has_kernel_driver) {
  DoctorFact fact{.name = "CUDA driver library", .value = {}, .is_fine = true, .remedy = {}};
  if (list.devices) {
    const cuda::Driver& driver = list.devices->driver();
    fact.value = fmt::format("{}, CUDA {}", driver.library(), cuda_version_text(driver.version()));
    return fact;
  }
  fact.value = list.problem->message();
  // Without any GPU nothing is wrong; a driver of which a part is missing is.
  fact.is_fine = !has_kernel_driver && list.problem->code() == Code::no_driver &&
                 list.problem->driver_result() == 0;
  fact.remedy = remedy_of(*list.problem, has_kernel_driver);
  return fact;
}

DoctorFact device_files_fact(Context& context, bool is_wanted) {
  const std::string& directory = cuda_backend(context).options().device_directory;
  std::string found;
  if (const auto files = context.os().list_directory(directory)) {
    for (const std::string& file : *files)
      if (file.starts_with("nvidia")) found += (found.empty() ? "" : ", ") + file;
  }
  DoctorFact fact{.name = "GPU device files",
                  .value = found.empty() ? "none in " + directory : directory + ": " + found,
                  .is_fine = !found.empty() || !is_wanted,
                  .remedy = {}};
  if (!fact.is_fine) fact.remedy = "pass the devices into the container (--gpus all)";
  return fact;
}

DoctorFact tried(std::string name, const Result<void>& result, std::string value) {
  if (result)
    return {.name = std::move(name), .value = std::move(value), .is_fine = true, .remedy = ""};
  return {
      .name = std::move(name), .value = result.error().message(), .is_fine = true, .remedy = ""};
}

Result<void> check_stream_values(const Device& device) {
  STRATA_TRY(device.driver().require(DriverFeature::stream_values));
  STRATA_ASSIGN(const int can, device.attribute(cuda::kAttributeCanUse64BitStreamMemOps));
  if (can != 0) return {};
  return fail(Code::unsupported, "this GPU's streams cannot wait for a 64-bit word");
}

Result<void> check_kernels(const Device& device) {
  STRATA_TRY(device.driver().require(DriverFeature::kernels));
  STRATA_ASSIGN(const int major, device.attribute(cuda::kAttributeComputeCapabilityMajor));
  if (major >= kLeastComputeCapability) return {};
  return fail(Code::unsupported, fmt::format("compute capability {}.x; {}.0 is needed", major,
                                             kLeastComputeCapability));
}

void add_device_facts(std::vector<DoctorFact>& facts, const GpuRow& gpu) {
  Device& device = *gpu.device;
  const std::string name = fmt::format("GPU {}", device.ordinal());
  const bool fake = cuda::is_fake(device.uuid());
  facts.push_back({.name = name,
                   .value = fmt::format("{}, {}, {}, {}{}", device.name(), gpu.uuid,
                                        device.pci_address(), format_bytes(device.total_bytes()),
                                        gpu.node ? fmt::format(", near node {}", *gpu.node) : ""),
                   .is_fine = !fake,
                   .remedy = fake ? "this is the FAKE driver of the tests: nothing below is about "
                                    "hardware; take its folder off the loader's path"
                                  : ""});
  const auto mechanism = [&](DeviceMechanism which) {
    return tried(fmt::format("{}, {}", name, mechanism_name(which)),
                 cuda::check_mechanism(device, which), "works");
  };
  DoctorFact usual = mechanism(DeviceMechanism::vmm_fd);
  if (usual.value != "works") {
    usual.is_fine = false;
    usual.remedy = "until then: --mechanism ipc where that works, or shm: and map_to_device()";
  }
  facts.push_back(std::move(usual));
  facts.push_back(mechanism(DeviceMechanism::legacy_ipc));
  facts.push_back(mechanism(DeviceMechanism::fabric));
  DoctorFact waits = tried(name + ", streams that wait", check_stream_values(device), "works");
  if (waits.value != "works") waits.remedy = "processes wait for each other on the host instead";
  facts.push_back(std::move(waits));
  facts.push_back(tried(name + ", kernels", check_kernels(device), "can be loaded"));
}

}  // namespace

std::vector<DoctorFact> gpu_facts(Context& context) {
  const std::string kernel = kernel_driver(context.os());
  const GpuList list = list_gpus(context);
  std::vector<DoctorFact> facts = {kernel_driver_fact(kernel), library_fact(list, !kernel.empty())};
  if (!kernel.empty() || list.devices) facts.push_back(device_files_fact(context, !kernel.empty()));
  for (const GpuRow& gpu : list.gpus) {
    if (gpu.device != nullptr) {
      add_device_facts(facts, gpu);
    } else {
      facts.push_back({.name = "GPU at " + gpu.pci_address,
                       .value = (gpu.name.empty() ? "NVIDIA" : gpu.name) +
                                ", which no CUDA driver shows to this process",
                       .is_fine = !list.devices && kernel.empty(),
                       .remedy = {}});
    }
  }
  return facts;
}

}  // namespace strata::inline v0_1::tools
