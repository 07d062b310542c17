#include "pmem/heap_content.h"

#include <algorithm>
#include <cstring>

#include "pmem/zones.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::uint64_t kPageBytes = 4096;

struct ZoneHeader {
  std::uint32_t magic;
  std::uint32_t chunks;
};
constexpr std::uint32_t kZoneMagic = 0xC3F0A2D2;

struct ChunkHeader {
  std::uint16_t type;
  std::uint16_t flags;
  std::uint32_t chunks;
};
constexpr std::uint16_t kFree = 2;
constexpr std::uint16_t kUsed = 3;               // one large object
constexpr std::uint16_t kCompactHeader = 1;      // of that object
constexpr std::uint64_t kInternal = 1ULL << 63;  // libpmemobj's own: the root, a part of a log

struct ObjectHeader {
  std::uint64_t bytes_and_flags;
  std::uint64_t type;
};

template <typename T>
bool read_all(Os& os, int fd, std::span<T> into, std::uint64_t at) {
  const auto bytes = std::as_writable_bytes(into);
  return os.pread(fd, bytes, at).value_or(0) == bytes.size();
}

bool is_own_content(Os& os, int fd, const ChunkHeader& chunk, std::uint64_t at) {
  if (chunk.type == kFree) return true;
  if (chunk.type != kUsed || (chunk.flags & kCompactHeader) == 0) return false;
  ObjectHeader object{};
  return read_all(os, fd, std::span(&object, 1), at) && (object.bytes_and_flags & kInternal) == 0;
}

void add_zone(Os& os, int fd, FileRange zone, std::vector<FileRange>& content) {
  ZoneHeader header{};
  if (!read_all(os, fd, std::span(&header, 1), zone.begin)) return;
  const std::uint64_t chunks_at = zone.begin + kZoneHeaderBytes;
  if (header.magic != kZoneMagic || header.chunks > kMaxChunks) return;
  std::vector<ChunkHeader> table(header.chunks);
  if (!read_all(os, fd, std::span(table), zone.begin + kChunkTableAt)) return;
  for (std::uint64_t i = 0; i < table.size() && table[i].chunks != 0; i += table[i].chunks) {
    const std::uint64_t begin = chunks_at + i * kChunkBytes;
    const std::uint64_t end = begin + table[i].chunks * kChunkBytes;
    if (end > zone.end || !is_own_content(os, fd, table[i], begin)) continue;
    // The head of the object stays.
    content.push_back({begin + kPageBytes, end});
  }
}

}  // namespace

std::vector<FileRange> heap_content(Os& os, int fd, std::uint64_t file_bytes,
                                    std::uint64_t heap_offset_bytes) {
  std::vector<FileRange> content;
  if (heap_offset_bytes > file_bytes) return content;
  for (std::uint64_t at = heap_offset_bytes + kHeapHeaderBytes; at < file_bytes;
       at += kMaxZoneBytes) {
    add_zone(os, fd, {at, std::min(file_bytes, at + kMaxZoneBytes)}, content);
  }
  return content;
}

}  // namespace strata::inline v0_1
