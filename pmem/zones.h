// How libpmemobj divides a pool, and the sizes with which it writes past its own tables.
//
// libpmemobj divides its heap into zones of 65528 chunks, each with a table of as many chunk
// headers. PMDK 1.12 gives what remains behind the last full zone to that zone, whole chunks of
// it, where it is too small for a zone of its own; the table then overlaps the first chunk, and
// filling the zone ends in SIGSEGV. The same where a file was made longer than its heap knows.
//   Threads:  any; pure functions of numbers.
#pragma once

#include <cstdint>

namespace strata::inline v0_1 {

// heap_layout.h of PMDK 1.12: a header, then zones; a zone is a header, its table, its chunks.
inline constexpr std::uint64_t kHeapHeaderBytes = 1024;
inline constexpr std::uint64_t kMaxChunks = 65'528;  // of a zone
inline constexpr std::uint64_t kChunkBytes = 256 * 1024;
inline constexpr std::uint64_t kChunkTableAt = 64;
inline constexpr std::uint64_t kZoneHeaderBytes = kChunkTableAt + kMaxChunks * 8;
inline constexpr std::uint64_t kMaxZoneBytes = kZoneHeaderBytes + kMaxChunks * kChunkBytes;
static_assert(kMaxZoneBytes == 17'178'296'320);

// Where libpmemobj 1.12 begins the heap of a new pool.
inline constexpr std::uint64_t kNewPoolHeapOffsetBytes = 3'153'920;

// The largest size up to `bytes` that a pool may have whose heap begins there. Sizes just above a
// whole number of zones are made up to 768 KiB smaller, all others are returned as they are.
std::uint64_t usable_pool_bytes(std::uint64_t bytes,
                                std::uint64_t heap_offset_bytes = kNewPoolHeapOffsetBytes);

// Whether libpmemobj has given, or would give when it opens the pool, its last zone more chunks
// than have headers. `heap_bytes` as the pool records it; 0, not recorded yet, is all of the file.
bool has_overflowing_zone(std::uint64_t file_bytes, std::uint64_t heap_offset_bytes,
                          std::uint64_t heap_bytes);

}  // namespace strata::inline v0_1
