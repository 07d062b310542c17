#include "strata/sync/cache_lines.h"

#include <cpuid.h>
#include <immintrin.h>

#include <cstdint>

namespace strata::inline v0_1 {
namespace {

constexpr std::uintptr_t kLineBytes = 64;

bool can_flush() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & bit_CLFLUSHOPT) != 0;
}

// Flushing changes no byte, so it needs no order towards anything else.
__attribute__((target("clflushopt"))) void flush(std::uintptr_t from, std::uintptr_t to) {
  for (std::uintptr_t line = from; line < to; line += kLineBytes)
    _mm_clflushopt(reinterpret_cast<void*>(line));
}

}  // namespace

void hand_back_lines(const void* at, std::size_t bytes) {
  static const bool is_possible = can_flush();
  if (!is_possible) return;
  const auto first = reinterpret_cast<std::uintptr_t>(at);
  flush(first & ~(kLineBytes - 1), first + bytes);
}

}  // namespace strata::inline v0_1
