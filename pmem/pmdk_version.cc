#include "pmem/pmdk_version.h"

#include <libpmem2.h>
#include <libpmemobj/base.h>
#include <libpmempool.h>

namespace strata::inline v0_1 {
namespace {

// These libraries do not say which version they are, only whether one would do: it would if major
// is the same and minor is not above theirs.
template <typename Check>
std::string running_version(Check check, unsigned major) {
  constexpr unsigned kMostMinor = 100;
  unsigned minor = 0;
  if (check(major, minor) != nullptr) return {};
  while (minor < kMostMinor && check(major, minor + 1) == nullptr)
    ++minor;
  return std::to_string(major) + "." + std::to_string(minor);
}

std::string text_of(unsigned major, unsigned minor) {
  return std::to_string(major) + "." + std::to_string(minor);
}

}  // namespace

std::vector<LibraryVersion> pmdk_versions() {
  return {{.name = "libpmem2",
           .built = {},
           .running = {},
           .file = library_file(reinterpret_cast<const void*>(&pmem2_errormsg))},
          {.name = "libpmemobj",
           .built = text_of(PMEMOBJ_MAJOR_VERSION, PMEMOBJ_MINOR_VERSION),
           .running = running_version(pmemobj_check_version, PMEMOBJ_MAJOR_VERSION),
           .file = library_file(reinterpret_cast<const void*>(&pmemobj_check_version))},
          {.name = "libpmempool",
           .built = text_of(PMEMPOOL_MAJOR_VERSION, PMEMPOOL_MINOR_VERSION),
           .running = running_version(pmempool_check_version, PMEMPOOL_MAJOR_VERSION),
           .file = library_file(reinterpret_cast<const void*>(&pmempool_check_version))}};
}

}  // namespace strata::inline v0_1
