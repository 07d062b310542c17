#include "base/long_hash.h"

#if defined(__x86_64__)
#include <xxh_x86dispatch.h>  // the same hash
#else
#include <xxhash.h>
#endif

namespace strata::inline v0_1 {

std::uint64_t hash_long(std::span<const std::byte> bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

}  // namespace strata::inline v0_1
