// kernels.ptx, as a string that ends with a zero; made by a rule of BUILD.
#pragma once

namespace strata::inline v0_1::cuda {

extern const char* const kKernelsPtx;

}  // namespace strata::inline v0_1::cuda
