#include "gpu/driver_calls.h"

#include <array>
#include <atomic>
#include <cstddef>

namespace strata::inline v0_1::cuda {
namespace {

enum CallId : std::size_t {
#define STRATA_CUDA_ID(name, version, need, parameters) kId_##name,
  STRATA_CUDA_CALLS(STRATA_CUDA_ID)
#undef STRATA_CUDA_ID
      kCallCount,
};

constexpr std::array<std::string_view, kCallCount> kNames = {
#define STRATA_CUDA_NAME(name, version, need, parameters) #name,
    STRATA_CUDA_CALLS(STRATA_CUDA_NAME)
#undef STRATA_CUDA_NAME
};

std::array<std::atomic<std::uint64_t>, kCallCount> calls;

template <CallId Id, typename Function>
struct Counted;

template <CallId Id, typename... Parameters>
struct Counted<Id, CuResult (*)(Parameters...)> {
  static inline CuResult (*real)(Parameters...) = nullptr;

  static CuResult call(Parameters... parameters) {
    calls[Id].fetch_add(1, std::memory_order_relaxed);
    return real(parameters...);
  }
};

}  // namespace

std::vector<CallCount> driver_call_counts() {
  std::vector<CallCount> counts;
  for (std::size_t id = 0; id < kCallCount; ++id) {
    const std::uint64_t count = calls[id].load(std::memory_order_relaxed);
    if (count != 0) counts.push_back({kNames[id], count});
  }
  return counts;
}

std::uint64_t driver_calls() {
  std::uint64_t sum = 0;
  for (const auto& count : calls)
    sum += count.load(std::memory_order_relaxed);
  return sum;
}

DriverTable counted(const DriverTable& table) {
  DriverTable with_counts;
#define STRATA_CUDA_COUNT(name, version, need, parameters)                     \
  if (table.name) {                                                            \
    Counted<kId_##name, decltype(DriverTable::name)>::real = table.name;       \
    with_counts.name = Counted<kId_##name, decltype(DriverTable::name)>::call; \
  }
  STRATA_CUDA_CALLS(STRATA_CUDA_COUNT)
#undef STRATA_CUDA_COUNT
  return with_counts;
}

}  // namespace strata::inline v0_1::cuda
