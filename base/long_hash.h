// XXH3-64 of ranges that are longer than some cache lines: checksums of blocks and of large
// records.
//   Cost: 20 to 40 GB/s of bytes that are in the cache, by AVX2 or AVX-512 where the processor has
//         them. What is shorter costs a call; xxhash.h inline does not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace strata::inline v0_1 {

std::uint64_t hash_long(std::span<const std::byte> bytes, std::uint64_t seed = 0);

}  // namespace strata::inline v0_1
