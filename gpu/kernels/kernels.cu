// What Strata does on a device with bytes that are there: fill, compare, hash.
//
// kernels.ptx is this file as compiled by NVRTC 12.0 for compute_70, so that no build needs a
// compiler for devices and every driver from 525 on loads it; //gpu/kernels:ptx_test compiles it
// anew and compares. gpu/kernels.h launches it. Tests run it on the host, as it stands.
//   Threads:  as launched: any number of blocks; of strata_hash_blocks, kHashThreads in each.
//   Errors:   none: who launches has checked addresses and sizes. Addresses are multiples of 8.

#include "gpu/kernels/xxh3.h"

namespace strata::kernels {
namespace {

// What the chunks of a tile add to the lanes.
struct TileSums {
  U64 products[kTileChunks][kLanes];
  U64 words[kTileChunks][kLanes];  // added to the neighbour
};

STRATA_ON_DEVICE U64 global_thread() {
  return static_cast<U64>(blockIdx.x) * blockDim.x + threadIdx.x;
}
STRATA_ON_DEVICE U64 global_threads() { return static_cast<U64>(gridDim.x) * blockDim.x; }

STRATA_ON_DEVICE U64 lesser(U64 a, U64 b) { return a < b ? a : b; }

// Eight threads for a chunk: each adds up the words of its lane.
STRATA_ON_DEVICE void sum_chunk(const U64* chunk, U32 lane, U64* products, U64* words) {
  U64 product_sum = 0;
  U64 word_sum = 0;
  for (U32 stripe = 0; stripe < kStripesOfChunk; ++stripe) {
    const U64 word = chunk[stripe * kLanes + lane];
    product_sum += product(word, kSecret[stripe + lane]);
    word_sum += word;
  }
  products[lane] = product_sum;
  words[lane] = word_sum;
}

STRATA_ON_DEVICE U64 chain_tile(const TileSums& sums, U32 chunks, U32 lane, U64 value) {
  for (U32 chunk = 0; chunk < chunks; ++chunk) {
    value += sums.products[chunk][lane] + sums.words[chunk][lane ^ 1];
    value = scramble(value, lane);
  }
  return value;
}

STRATA_ON_DEVICE U64 word_of_bytes(const Byte* bytes) {
  U64 word = 0;
  for (U32 i = 0; i < 8; ++i)
    word |= static_cast<U64>(bytes[i]) << (8 * i);
  return word;
}

// The stripes behind the last whole chunk, and the last 64 bytes once more.
STRATA_ON_DEVICE U64 add_rest(const Byte* bytes, U64 size, U64 chunks, U32 lane, U64 value) {
  const Byte* const rest = bytes + chunks * kChunkBytes;
  const U64 stripes = (size - 1 - chunks * kChunkBytes) / kStripeBytes;
  for (U32 stripe = 0; stripe < stripes; ++stripe) {
    const Byte* const at = rest + stripe * kStripeBytes;
    value += product(word_of_bytes(at + 8 * lane), kSecret[stripe + lane]);
    value += word_of_bytes(at + 8 * (lane ^ 1));
  }
  const Byte* const last = bytes + size - kStripeBytes;
  value += product(word_of_bytes(last + 8 * lane), secret_at(kSecretOfLastStripe + 8 * lane));
  return value + word_of_bytes(last + 8 * (lane ^ 1));
}

// The lanes of `size` bytes, by all threads of one block; `lanes` is in memory that they share.
STRATA_ON_DEVICE void hash_lanes(const Byte* bytes, U64 size, TileSums* tiles, U64* lanes) {
  const U32 thread = threadIdx.x;
  const bool is_chain = thread < kChainThreads;
  const U32 lane = (is_chain ? thread : thread - kChainThreads) % kLanes;
  const bool has_lane = thread < kLanes;
  const U64 chunks = (size - 1) / kChunkBytes;
  const U64 tile_count = (chunks + kTileChunks - 1) / kTileChunks;
  U64 value = kFirstLanes[lane];
  // Tile t is summed while tile t - 1 is chained.
  for (U64 tile = 0; tile <= tile_count; ++tile) {
    if (has_lane && tile > 0) {
      const U64 first = (tile - 1) * kTileChunks;
      const U32 count = static_cast<U32>(lesser(kTileChunks, chunks - first));
      value = chain_tile(tiles[(tile - 1) % 2], count, lane, value);
    } else if (!is_chain) {
      const U32 slot = (thread - kChainThreads) / kLanes;
      const U64 chunk = tile * kTileChunks + slot;
      if (chunk < chunks) {
        TileSums& sums = tiles[tile % 2];
        sum_chunk(reinterpret_cast<const U64*>(bytes + chunk * kChunkBytes), lane,
                  sums.products[slot], sums.words[slot]);
      }
    }
    __syncthreads();
  }
  if (has_lane) lanes[lane] = add_rest(bytes, size, chunks, lane, value);
  __syncthreads();
}

STRATA_ON_DEVICE U64 first_different_byte(U64 a, U64 b) {
  U64 byte = 0;
  for (U64 difference = a ^ b; (difference & 0xFF) == 0; difference >>= 8)
    ++byte;
  return byte;
}

}  // namespace
}  // namespace strata::kernels

using namespace strata::kernels;

// Every eight bytes become `value`, little endian; the last ones its first bytes.
extern "C" __global__ void strata_fill(U64* to, U64 bytes, U64 value) {
  const U64 words = bytes / 8;
  for (U64 i = global_thread(); i < words; i += global_threads())
    to[i] = value;
  if (global_thread() < bytes % 8) {
    reinterpret_cast<Byte*>(to + words)[global_thread()] =
        static_cast<Byte>(value >> (8 * global_thread()));
  }
}

// `first` holds a number that is not below `bytes`, and then the least offset at which a and b
// differ, if any.
extern "C" __global__ void strata_find_difference(const U64* a, const U64* b, U64 bytes,
                                                  U64* first) {
  const U64 words = bytes / 8;
  for (U64 i = global_thread(); i < words; i += global_threads()) {
    if (a[i] == b[i]) continue;
    atomicMin(first, 8 * i + first_different_byte(a[i], b[i]));
    break;  // what this thread finds later is further on
  }
  if (global_thread() < bytes % 8) {
    const U64 at = 8 * words + global_thread();
    if (reinterpret_cast<const Byte*>(a)[at] != reinterpret_cast<const Byte*>(b)[at])
      atomicMin(first, at);
  }
}

// XXH3-128 of every `block_bytes` bytes, low half first; the low half is XXH3-64. The last block is
// shorter, but not below kLeastBytes; block_bytes is a multiple of 8.
extern "C" __global__ void strata_hash_blocks(const Byte* bytes, U64 size, U64 block_bytes,
                                              U64* halves) {
  __shared__ TileSums tiles[2];
  __shared__ U64 lanes[kLanes];
  const U64 blocks = (size + block_bytes - 1) / block_bytes;
  for (U64 block = blockIdx.x; block < blocks; block += gridDim.x) {
    const U64 start = block * block_bytes;
    const U64 length = lesser(block_bytes, size - start);
    hash_lanes(bytes + start, length, tiles, lanes);
    if (threadIdx.x == 0) halves[2 * block] = low_half(lanes, length);
    if (threadIdx.x == 1) halves[2 * block + 1] = high_half(lanes, length);
    __syncthreads();  // the lanes have been read
  }
}
