#include "os/loaded_library.h"

#include <dlfcn.h>

#include <filesystem>

namespace strata::inline v0_1 {

std::string library_file(const void* function) {
  Dl_info info{};
  if (dladdr(function, &info) == 0 || info.dli_fname == nullptr) return {};
  std::error_code error;
  const auto file = std::filesystem::canonical(info.dli_fname, error);
  // Linked statically it is the program, or the library that Strata is in.
  if (error || file.filename().string().find(".so") == std::string::npos) return {};
  return file.string();
}

}  // namespace strata::inline v0_1
