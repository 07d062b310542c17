// The 64-bit word of a lock: bits 0-29 the owner's token (0: free), bit 30 somebody sleeps, bit 31
// an owner died and nobody has repaired yet, bits 32-63 the low half of the generation.
// Token and generation change in one compare-and-swap, so that a lock of an old generation is
// re-initialised by taking it. Zeroed bytes are a free lock.
#pragma once

#include <cstdint>

#include "strata/sync/owner.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1::lock_word {

inline constexpr std::uint64_t kTokenMask = kMaxToken;
inline constexpr std::uint64_t kSleepers = std::uint64_t{1} << 30;
inline constexpr std::uint64_t kUnrepaired = std::uint64_t{1} << 31;
inline constexpr std::uint64_t kGenerationMask = ~std::uint64_t{0} << 32;

inline std::uint32_t token_of(std::uint64_t word) {
  return static_cast<std::uint32_t>(word & kTokenMask);
}
inline bool is_of(std::uint64_t word, std::uint64_t generation_bits) {
  return (word & kGenerationMask) == generation_bits;
}
// Words that no sequence of operations makes: sleepers on a lock that nobody holds.
inline bool is_possible(std::uint64_t word) {
  return token_of(word) != 0 || (word & kSleepers) == 0;
}

}  // namespace strata::inline v0_1::lock_word
#pragma GCC visibility pop
