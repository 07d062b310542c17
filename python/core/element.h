// The type of an array's elements in the spellings of other interfaces.
#pragma once

#include <cstdint>
#include <string>

#include "strata/base/result.h"
#include "strata/gpu/interop/array_layout.h"

namespace strata::python {

struct Element {
  std::string typestr;  // NumPy's and the header's: "<f8"
  std::uint64_t bytes = 1;
  std::string format;  // of the buffer protocol (PEP 3118): "d"
};

// Errors: invalid_argument.
Result<Element> describe_element(const std::string& typestr);
// As DLPack and CUDA name it. Errors: unsupported for what they have no name for.
Result<interop::ElementType> exchanged_element(const Element& element);

}  // namespace strata::python
