// How clients find the calls.
#include <algorithm>
#include <cstring>

#include "tests/fake_cuda/entry.h"
#include "tests/fake_cuda/settings.h"

using namespace strata::fake_cuda;

namespace {

struct Symbol {
  const char* name;
  int version;
  void* address;
};

const Symbol kSymbols[] = {
#define STRATA_FAKE_CUDA_SYMBOL(name, version, need, parameters) \
  {#name, version, reinterpret_cast<void*>(&::name)},
    STRATA_CUDA_CALLS(STRATA_FAKE_CUDA_SYMBOL)
#undef STRATA_FAKE_CUDA_SYMBOL
};

// CUdriverProcAddressQueryResult
constexpr int kFound = 0;
constexpr int kSymbolNotFound = 1;
constexpr int kVersionNotSufficient = 2;

}  // namespace

extern "C" CuResult cuGetProcAddress_v2(const char* name, void** address, int version,
                                        std::uint64_t, int* found) {
  if (!name || !address) return kInvalidValue;
  *address = nullptr;
  int how = kSymbolNotFound;
  const auto& without = settings().without;
  const bool is_hidden = std::find(without.begin(), without.end(), name) != without.end();
  for (const Symbol& symbol : kSymbols) {
    if (is_hidden || std::strcmp(symbol.name, name) != 0) continue;
    how = version >= symbol.version ? kFound : kVersionNotSufficient;
    if (how == kFound && symbol.version <= settings().version) *address = symbol.address;
    break;
  }
  if (std::strcmp(name, "cuGetProcAddress") == 0 && !is_hidden) {
    *address = reinterpret_cast<void*>(&cuGetProcAddress_v2);
    how = kFound;
  }
  if (found) *found = how;
  return *address || how != kSymbolNotFound || found ? kSuccess : kNotFound;
}
