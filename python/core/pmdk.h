// PMDK's libraries are loaded when the first pool is used, and not by `import strata`: the module
// strata._pmdk is linked with them, and gives this one a table of their functions.
#pragma once

namespace strata::python {

// Errors: ImportError with what to install. Costs nothing once it has succeeded.
void load_pmdk();

}  // namespace strata::python
