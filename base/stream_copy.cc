#include "base/stream_copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "strata/base/bytes.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace strata::inline v0_1 {

#if defined(__x86_64__)

void stream_copy(void* to, const void* from, std::size_t bytes) {
  auto* target = static_cast<std::byte*>(to);
  const auto* source = static_cast<const std::byte*>(from);
  const auto misaligned = reinterpret_cast<std::uintptr_t>(target) % kCacheLineBytes;
  const std::size_t head = std::min(bytes, misaligned == 0 ? 0 : kCacheLineBytes - misaligned);
  std::memcpy(target, source, head);
  target += head;
  source += head;
  std::size_t left = bytes - head;
  for (; left >= kCacheLineBytes; left -= kCacheLineBytes) {
    const auto* in = reinterpret_cast<const __m128i*>(source);
    auto* out = reinterpret_cast<__m128i*>(target);
    const __m128i a = _mm_loadu_si128(in);
    const __m128i b = _mm_loadu_si128(in + 1);
    const __m128i c = _mm_loadu_si128(in + 2);
    const __m128i d = _mm_loadu_si128(in + 3);
    _mm_stream_si128(out, a);
    _mm_stream_si128(out + 1, b);
    _mm_stream_si128(out + 2, c);
    _mm_stream_si128(out + 3, d);
    target += kCacheLineBytes;
    source += kCacheLineBytes;
  }
  std::memcpy(target, source, left);
  // Without it these stores could be seen after later ones.
  _mm_sfence();
}

__attribute__((target("clflushopt"))) static void evict_now(const void* address) {
  _mm_clflushopt(const_cast<void*>(address));
}

// Not every compiler's __builtin_cpu_supports knows of it.
static bool has_clflushopt() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & bit_CLFLUSHOPT) != 0;
}

void evict(const void* address) {
  static const bool can = has_clflushopt();
  if (can) evict_now(address);
}

#else

void evict(const void*) {}

void stream_copy(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }

#endif

}  // namespace strata::inline v0_1
