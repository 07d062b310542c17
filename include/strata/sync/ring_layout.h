// What both kinds of ring have in common: their geometry in shared bytes, checked once when a
// process opens the ring and kept in private memory from then on.
//   Threads:  the geometry never changes once made.
//   Errors:   corrupt for a geometry that does not fit the bytes it stands in.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "strata/base/result.h"
#include "strata/sync/shared_word.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

struct RingOptions {
  std::uint32_t slots = 0;          // a power of two, 2 to kMaxRingSlots
  std::uint32_t message_bytes = 0;  // the largest message, 1 to kMaxRingMessageBytes
};

inline constexpr std::uint32_t kMaxRingSlots = 1u << 20;
inline constexpr std::uint32_t kMaxRingMessageBytes = 1u << 30;

enum class RingKind : std::uint32_t { spsc = 0x43535053, mpmc = 0x434D504D };

// The first cache line of a ring. `kind` is stored last: it says that all else is there.
struct RingHeader {
  SharedWord<std::uint32_t> kind;
  std::uint32_t version;
  std::uint32_t slots;
  std::uint32_t message_bytes;
  std::uint64_t stride_bytes;
  std::uint64_t slots_offset_bytes;
  std::array<std::uint64_t, 4> reserved;
};
static_assert(sizeof(RingHeader) == 64);

inline constexpr std::uint32_t kRingVersion = 2;

// A checked copy in private memory.
struct RingGeometry {
  std::uint32_t slots;
  std::uint32_t message_bytes;
  std::uint64_t stride_bytes;
  std::uint64_t slots_offset_bytes;

  std::uint64_t total_bytes() const { return slots_offset_bytes + stride_bytes * slots; }
};

// The geometry that follows from the options. invalid_argument where they are out of range.
Result<RingGeometry> ring_geometry(const RingOptions& options, RingKind kind);

// Zeroes the ring and writes its header; `bytes` is aligned to 64 and long enough.
Result<void> format_ring(std::span<std::byte> bytes, const RingOptions& options, RingKind kind);
// not_ready for zeroed bytes, corrupt for any that no format_ring made.
Result<RingGeometry> read_ring(std::span<std::byte> bytes, RingKind kind);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
