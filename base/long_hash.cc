#include "base/long_hash.h"

// A build of xxHash has it where it was asked for; the hash is the same.
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

namespace strata::inline v0_1 {

std::uint64_t hash_long(std::span<const std::byte> bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

}  // namespace strata::inline v0_1
