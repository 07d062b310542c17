#include "pmem/zones.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kMapUnitBytes = 4096;  // as much of the file is mapped as fills these
constexpr std::uint64_t kMinZoneBytes = kZoneHeaderBytes + kChunkBytes;

std::uint64_t whole_units(std::uint64_t bytes) { return bytes - bytes % kMapUnitBytes; }

// heap_max_zone(). `bytes`: of all zones.
std::uint64_t count_zones(std::uint64_t bytes) {
  return bytes / kMaxZoneBytes + (bytes % kMaxZoneBytes >= kMinZoneBytes ? 1 : 0);
}

}  // namespace

std::uint64_t usable_pool_bytes(std::uint64_t bytes, std::uint64_t heap_offset_bytes) {
  const std::uint64_t zones_at = heap_offset_bytes + kHeapHeaderBytes;
  const std::uint64_t mapped = whole_units(bytes);
  if (mapped < zones_at + kMaxZoneBytes) return bytes;
  const std::uint64_t rest = (mapped - zones_at) % kMaxZoneBytes;
  if (rest < kChunkBytes || rest >= kMinZoneBytes) return bytes;
  return whole_units(mapped - rest + kChunkBytes - 1);
}

bool has_overflowing_zone(std::uint64_t file_bytes, std::uint64_t heap_offset_bytes,
                          std::uint64_t heap_bytes) {
  const std::uint64_t mapped = whole_units(file_bytes);
  if (mapped < heap_offset_bytes + kHeapHeaderBytes + kMinZoneBytes) return false;
  const std::uint64_t mapped_heap_bytes = mapped - heap_offset_bytes;
  const std::uint64_t recorded_bytes = heap_bytes == 0 ? mapped_heap_bytes : heap_bytes;
  // zone_calc_size_idx(): counted by the file, measured by the record.
  const std::uint64_t zones = count_zones(mapped_heap_bytes - kHeapHeaderBytes);
  const std::uint64_t last_zone_at = kHeapHeaderBytes + (zones - 1) * kMaxZoneBytes;
  if (recorded_bytes < last_zone_at + kZoneHeaderBytes) return true;
  return (recorded_bytes - last_zone_at - kZoneHeaderBytes) / kChunkBytes > kMaxChunks;
}

}  // namespace strata::inline v0_1
