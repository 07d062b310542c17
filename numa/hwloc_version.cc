#include "numa/hwloc_version.h"

#include <hwloc.h>

namespace strata::inline v0_1 {
namespace {

// 0x00020900 is 2.9.0.
std::string text_of(unsigned version) {
  return std::to_string(version >> 16) + "." + std::to_string(version >> 8 & 0xffU) + "." +
         std::to_string(version & 0xffU);
}

}  // namespace

LibraryVersion hwloc_version() {
  return {.name = "hwloc",
          .built = text_of(HWLOC_API_VERSION),
          .running = text_of(hwloc_get_api_version()),
          .file = library_file(reinterpret_cast<const void*>(&hwloc_get_api_version))};
}

}  // namespace strata::inline v0_1
