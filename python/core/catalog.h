// The one catalog of this process, which all functions of the package use.
#pragma once

#include "python/core/errors.h"
#include "strata/segment/catalog.h"

namespace strata::python {

// Loads PMDK's libraries first where `uri` is of a pool. Errors: ImportError with what to install.
Catalog& catalog_for(std::string_view uri);
// For what looks at all there is, pools too.
Catalog& whole_catalog();

// "r", "r+" or "c". Errors: ValueError.
Access parse_mode(std::string_view mode);
std::string_view mode_name(Access access);

void bind_catalog(nb::module_& module);

}  // namespace strata::python
