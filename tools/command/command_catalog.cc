#include "strata/strata.h"
#include "tools/command/command.h"

namespace strata::inline v0_1::tools {
namespace {

// What keeps device memory for those who come later is this same program.
std::vector<std::string> holder_command(Os& os) {
  const auto self = os.read_link("/proc/self/exe");
  return {self ? *self : "strata", "gpu", "hold"};
}

}  // namespace

Catalog& Context::catalog() {
  if (!catalog_) {
    CatalogOptions options;
    options.cuda.holder_command = holder_command(os_);
    catalog_ = std::make_unique<Catalog>(make_catalog(os_, options));
  }
  return *catalog_;
}

}  // namespace strata::inline v0_1::tools
