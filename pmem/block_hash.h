// The checksum of a block of a checkpoint or a backup: XXH3-64, unseeded (docs/format/pool.md).
//   Cost: 20 to 40 GB/s of bytes that are in the cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#if defined(__x86_64__)
#include <xxh_x86dispatch.h>  // AVX2 or AVX-512 where the processor has them; the same hash
#else
#include <xxhash.h>
#endif

namespace strata {

inline std::uint64_t hash_block(std::span<const std::byte> block) {
  return XXH3_64bits(block.data(), block.size());
}

}  // namespace strata
