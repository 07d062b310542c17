#include "strata.h"
#include "tools/command.h"

namespace strata::tools {

Catalog& Context::catalog() {
  if (!catalog_) catalog_ = std::make_unique<Catalog>(make_catalog(os_));
  return *catalog_;
}

}  // namespace strata::tools
