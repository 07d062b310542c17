#include "base/crc32c.h"

#include <bit>
#include <boost/crc.hpp>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace strata::inline v0_1 {
namespace {

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t hardware_crc(std::span<const std::byte> bytes,
                                                             std::uint32_t state) {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t wide = state;
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  state = static_cast<std::uint32_t>(wide);
  for (; left > 0; ++at, --left)
    state = _mm_crc32_u8(state, static_cast<std::uint8_t>(*at));
  return state;
}
#endif

// Boost takes its initial state unreflected; ours is the reflected register.
std::uint32_t reflect(std::uint32_t value) {
  std::uint32_t reflected = 0;
  for (int i = 0; i < 32; ++i)
    reflected |= ((value >> i) & 1u) << (31 - i);
  return reflected;
}

std::uint32_t portable_crc(std::span<const std::byte> bytes, std::uint32_t state) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0, true, true> crc(reflect(state));
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous) {
  const std::uint32_t state = ~previous;
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2");
  if (has_instruction) return ~hardware_crc(bytes, state);
#endif
  return ~portable_crc(bytes, state);
}

}  // namespace strata::inline v0_1
