// XXH3 of more than 240 bytes, cut into steps that threads of a device share: the hash that the
// host computes with xxhash (base/long_hash.h, segment/content_hash.h).
//
// The bytes are chunks of 1024. What a chunk adds to each of eight lanes does not depend on the
// chunks before it, so that many threads compute such sums at once; only the short step from one
// chunk to the next is a chain.
//   Threads:  pure functions. They compile for the device and, for tests, for the host.
//   Source:   xxhash.h 0.8 (Y. Collet, BSD), the long form with seed 0 and the default secret.
#pragma once

#if defined(__CUDACC__)
#define STRATA_ON_DEVICE __device__ __forceinline__
#define STRATA_DEVICE_TABLE __constant__ const
#else
#define STRATA_ON_DEVICE inline
#define STRATA_DEVICE_TABLE inline constexpr
#endif

namespace strata::kernels {

using Byte = unsigned char;
using U32 = unsigned int;
using U64 = unsigned long long;

inline constexpr U32 kLanes = 8;            // words of 8 bytes that make a stripe
inline constexpr U32 kStripesOfChunk = 16;  // 1024 bytes
inline constexpr U32 kStripeBytes = 8 * kLanes;
inline constexpr U32 kChunkBytes = kStripeBytes * kStripesOfChunk;
inline constexpr U64 kLeastBytes = 241;  // xxhash hashes fewer in other ways

// Chunks of a tile: its sums are computed while those of the tile before are chained.
inline constexpr U32 kTileChunks = 32;
inline constexpr U32 kChainThreads = 32;  // one warp; eight of them have a lane
inline constexpr U32 kHashThreads = kChainThreads + kTileChunks * kLanes;

// The offsets, in bytes, at which xxhash reads its secret.
inline constexpr U32 kSecretOfScramble = 128;
inline constexpr U32 kSecretOfLastStripe = 121;
inline constexpr U32 kSecretOfLow = 11;
inline constexpr U32 kSecretOfHigh = 117;

inline constexpr U64 kPrime32_1 = 0x9E3779B1U;
inline constexpr U64 kPrime32_2 = 0x85EBCA77U;
inline constexpr U64 kPrime32_3 = 0xC2B2AE3DU;
inline constexpr U64 kPrime64_1 = 0x9E3779B185EBCA87ULL;
inline constexpr U64 kPrime64_2 = 0xC2B2AE3D27D4EB4FULL;
inline constexpr U64 kPrime64_3 = 0x165667B19E3779F9ULL;
inline constexpr U64 kPrime64_4 = 0x85EBCA77C2B2AE63ULL;
inline constexpr U64 kPrime64_5 = 0x27D4EB2F165667C5ULL;
inline constexpr U64 kAvalanche = 0x165667919E3779F9ULL;

STRATA_DEVICE_TABLE U64 kFirstLanes[kLanes] = {kPrime32_3, kPrime64_1, kPrime64_2, kPrime64_3,
                                               kPrime64_4, kPrime32_2, kPrime64_5, kPrime32_1};

// The default secret, as words of little-endian bytes.
STRATA_DEVICE_TABLE U64 kSecret[24] = {
    0xBE4BA423396CFEB8ULL, 0x1CAD21F72C81017CULL, 0xDB979083E96DD4DEULL, 0x1F67B3B7A4A44072ULL,
    0x78E5C0CC4EE679CBULL, 0x2172FFCC7DD05A82ULL, 0x8E2443F7744608B8ULL, 0x4C263A81E69035E0ULL,
    0xCB00C391BB52283CULL, 0xA32E531B8B65D088ULL, 0x4EF90DA297486471ULL, 0xD8ACDEA946EF1938ULL,
    0x3F349CE33F76FAA8ULL, 0x1D4F0BC7C7BBDCF9ULL, 0x3159B4CD4BE0518AULL, 0x647378D9C97E9FC8ULL,
    0xC3EBD33483ACC5EAULL, 0xEB6313FAFFA081C5ULL, 0x49DAF0B751DD0D17ULL, 0x9E68D429265516D3ULL,
    0xFCA1477D58BE162BULL, 0xCE31D07AD1B8F88FULL, 0x280416958F3ACB45ULL, 0x7E404BBBCAFBD7AFULL,
};

// Eight bytes of the secret that begin at any byte.
STRATA_ON_DEVICE U64 secret_at(U32 byte) {
  const U32 shift = 8 * (byte % 8);
  const U64 low = kSecret[byte / 8] >> shift;
  return shift == 0 ? low : low | kSecret[byte / 8 + 1] << (64 - shift);
}

// What one word adds to its own lane; to the neighbour (lane ^ 1) it adds itself.
STRATA_ON_DEVICE U64 product(U64 word, U64 key) {
  const U64 mixed = word ^ key;
  return (mixed & 0xFFFFFFFFU) * (mixed >> 32);
}

// The step from one chunk to the next.
STRATA_ON_DEVICE U64 scramble(U64 lane, U32 index) {
  const U64 mixed = lane ^ (lane >> 47) ^ secret_at(kSecretOfScramble + 8 * index);
  return mixed * kPrime32_1;
}

STRATA_ON_DEVICE U64 folded_product(U64 a, U64 b) {
#if defined(__CUDACC__)
  return (a * b) ^ __umul64hi(a, b);
#else
  const auto whole = static_cast<unsigned __int128>(a) * b;
  return static_cast<U64>(whole) ^ static_cast<U64>(whole >> 64);
#endif
}

// One half of the hash from the lanes at the end.
STRATA_ON_DEVICE U64 merged(const U64* lanes, U32 secret_offset, U64 start) {
  U64 sum = start;
  for (U32 i = 0; i < kLanes; i += 2) {
    sum += folded_product(lanes[i] ^ secret_at(secret_offset + 8 * i),
                          lanes[i + 1] ^ secret_at(secret_offset + 8 * i + 8));
  }
  sum = (sum ^ (sum >> 37)) * kAvalanche;
  return sum ^ (sum >> 32);
}

// The low half is also the whole of XXH3-64.
STRATA_ON_DEVICE U64 low_half(const U64* lanes, U64 bytes) {
  return merged(lanes, kSecretOfLow, bytes * kPrime64_1);
}
STRATA_ON_DEVICE U64 high_half(const U64* lanes, U64 bytes) {
  return merged(lanes, kSecretOfHigh, ~(bytes * kPrime64_2));
}

}  // namespace strata::kernels
