// Modules: PTX text, of which only the names of its kernels matter here.
#include <cctype>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "tests/fake_cuda/devices.h"
#include "tests/fake_cuda/entry.h"
#include "tests/fake_cuda/kernels.h"
#include "tests/fake_cuda/streams.h"

using namespace strata::fake_cuda;

namespace {

constexpr auto kNoBinaryForGpu = static_cast<CuResult>(209);
constexpr auto kInvalidPtx = static_cast<CuResult>(218);

struct Module {
  std::set<std::string, std::less<>> kernels;
  std::map<std::string, std::unique_ptr<const Kernel*>, std::less<>> functions;
};

std::map<CuModule, std::unique_ptr<Module>>& modules() {
  static auto& all = *new std::map<CuModule, std::unique_ptr<Module>>;
  return all;
}

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$'; }

std::set<std::string, std::less<>> read_kernel_names(std::string_view text) {
  constexpr std::string_view kEntry = ".entry";
  std::set<std::string, std::less<>> names;
  for (std::size_t at = text.find(kEntry); at != std::string_view::npos;
       at = text.find(kEntry, at)) {
    at += kEntry.size();
    while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at])))
      ++at;
    const std::size_t begin = at;
    while (at < text.size() && is_name(text[at]))
      ++at;
    names.emplace(text.substr(begin, at - begin));
  }
  return names;
}

// The function that a handle stands for, or null.
const Kernel* find_function(CuFunction handle) {
  for (const auto& [key, module] : modules()) {
    for (const auto& [name, kernel] : module->functions) {
      if (reinterpret_cast<CuFunction>(kernel.get()) == handle) return *kernel;
    }
  }
  return nullptr;
}

}  // namespace

CuResult cuModuleLoadData(CuModule* module, const void* image) {
  FAKE_CUDA_ENTER(cuModuleLoadData);
  FAKE_CUDA_REQUIRE(module && image, kInvalidValue);
  FAKE_CUDA_NEED_CONTEXT();
  const char* const text = static_cast<const char*>(image);
  // Compiled code, which no fake can run: a fat binary, or ELF.
  if (std::memcmp(text, "\x50\xed\x55\xba", 4) == 0 || std::memcmp(text,
                                                                   "\x7f"
                                                                   "ELF",
                                                                   4) == 0) {
    return kNoBinaryForGpu;
  }
  auto made = std::make_unique<Module>();
  made->kernels = read_kernel_names(text);
  FAKE_CUDA_REQUIRE(std::strstr(text, ".version") && !made->kernels.empty(), kInvalidPtx);
  *module = reinterpret_cast<CuModule>(made.get());
  modules().emplace(*module, std::move(made));
  return kSuccess;
}

CuResult cuModuleUnload(CuModule module) {
  FAKE_CUDA_ENTER(cuModuleUnload);
  FAKE_CUDA_NEED_CONTEXT();
  return modules().erase(module) != 0 ? kSuccess : kInvalidHandle;
}

CuResult cuModuleGetFunction(CuFunction* function, CuModule module, const char* name) {
  FAKE_CUDA_ENTER(cuModuleGetFunction);
  FAKE_CUDA_REQUIRE(function && name, kInvalidValue);
  const auto found = modules().find(module);
  FAKE_CUDA_REQUIRE(found != modules().end(), kInvalidHandle);
  FAKE_CUDA_REQUIRE(found->second->kernels.contains(name), kNotFound);
  const Kernel* const kernel = find_kernel(name);
  FAKE_CUDA_REQUIRE(kernel, kNotFound);
  auto& known = found->second->functions[name];
  if (!known) known = std::make_unique<const Kernel*>(kernel);
  *function = reinterpret_cast<CuFunction>(known.get());
  return kSuccess;
}

CuResult cuLaunchKernel(CuFunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned,
                        CuStream stream, void** parameters, void** extra) {
  FAKE_CUDA_ENTER(cuLaunchKernel);
  FAKE_CUDA_NEED_CONTEXT();
  constexpr std::uint64_t kMostThreads = 1024;
  FAKE_CUDA_REQUIRE(grid_x && grid_y && grid_z && block_x && block_y && block_z, kInvalidValue);
  FAKE_CUDA_REQUIRE(std::uint64_t{block_x} * block_y * block_z <= kMostThreads, kInvalidValue);
  const Kernel* const kernel = find_function(function);
  FAKE_CUDA_REQUIRE(kernel, kInvalidHandle);
  FAKE_CUDA_REQUIRE(!extra && (parameters || kernel->parameter_bytes.empty()), kInvalidValue);
  const std::shared_ptr<Stream> found = find_stream(stream);
  FAKE_CUDA_REQUIRE(found, kInvalidHandle);
  std::vector<std::uint64_t> arguments;
  for (std::size_t i = 0; i < kernel->parameter_bytes.size(); ++i) {
    std::uint64_t argument = 0;
    std::memcpy(&argument, parameters[i], kernel->parameter_bytes[i]);
    arguments.push_back(argument);
  }
  found->push([kernel, launch = Launch(std::move(arguments), found->device())]() mutable {
    kernel->run(launch);
    if (launch.has_faulted()) set_sticky_error(kIllegalAddress);
  });
  return kSuccess;
}
