// What stands where in a Strata pool; docs/format/pool.md is its contract.
//
// A pool is a libpmemobj pool of layout "strata". Its root object is the directory below: a
// header, an index and an array of entries. All of it can be read without libpmemobj.
//   Errors:   every byte may be hostile: readers copy out and check (pmem/directory.h).
// All integers are little-endian, fixed width; unused bytes are zero.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace strata::inline v0_1 {

// Of libpmemobj's own format, version 6: what is needed to find the root.
inline constexpr std::size_t kObjHeaderBytes = 8192;  // read at once
inline constexpr std::array<char, 8> kObjSignature = {'P', 'M', 'E', 'M', 'O', 'B', 'J', '\0'};
inline constexpr std::uint32_t kObjMajorVersion = 6;
inline constexpr std::size_t kObjMajorAt = 8;                  // u32
inline constexpr std::size_t kObjLayoutAt = 4096;              // 1024 bytes, zero padded
inline constexpr std::size_t kObjLanesOffsetAt = 5120;         // u64
inline constexpr std::size_t kObjLaneCountAt = 5128;           // u64
inline constexpr std::size_t kObjHeapOffsetAt = 5136;          // u64
inline constexpr std::size_t kObjDescriptorChecksumAt = 6136;  // u64, of bytes 4096..6143
inline constexpr std::size_t kObjRootOffsetAt = 6144;          // u64
inline constexpr std::size_t kObjRootSizeAt = 6160;            // u64
inline constexpr std::size_t kObjHeapSizeAt = 6176;            // u64; 0: all of the file
inline constexpr const char* kPoolLayoutName = "strata";

inline constexpr std::array<char, 8> kDirectoryMagic = {'S', 'T', 'R', 'A', 'D', 'I', 'R', '1'};
inline constexpr std::uint16_t kDirectoryVersionMajor = 1;
inline constexpr std::uint16_t kDirectoryVersionMinor = 0;
inline constexpr std::uint64_t kByteOrderMark = 0x0102030405060708;
inline constexpr std::uint32_t kMaxSlots = 65536;

// Type numbers of our objects in libpmemobj's heap.
inline constexpr std::uint64_t kSegmentObjectType = 0x5354;   // a segment
inline constexpr std::uint64_t kUserRootObjectType = 0x5355;  // a program's own typed root

// Bytes 0..127 of the directory: written once.
struct DirectoryHeader {
  std::array<char, 8> magic;
  std::uint16_t version_major;
  std::uint16_t version_minor;
  std::uint32_t header_bytes;  // of header, sequence and state together: 256
  std::uint64_t features_ignorable;
  std::uint64_t features_required;
  std::uint64_t features_read_only;
  std::uint32_t slot_count;
  std::uint32_t entry_bytes;
  std::array<std::uint8_t, 16> pool_uuid;
  std::uint64_t index_offset_bytes;    // from the start of the directory
  std::uint64_t entries_offset_bytes;  // likewise
  std::uint64_t byte_order_mark;
  std::uint64_t created_unix_ns;
  std::array<std::uint8_t, 28> reserved;
  std::uint32_t crc32c;  // of the bytes before it
};
static_assert(sizeof(DirectoryHeader) == 128);
static_assert(offsetof(DirectoryHeader, slot_count) == 40);

// Bytes 128..191: odd while a change is under way. Stored outside of transactions, so that it
// stays odd when the process that changes the directory dies.
struct DirectorySequence {
  std::uint64_t value;
  std::array<std::uint8_t, 56> reserved;
};
static_assert(sizeof(DirectorySequence) == 64);

// Bytes 192..255: changes within the transaction that changes the entries.
struct DirectoryState {
  std::uint64_t changes;  // committed so far
  std::uint32_t used_slots;
  std::uint32_t index_crc32c;
  std::uint64_t user_root_offset_bytes;  // 0: none
  std::uint64_t user_root_bytes;
  std::array<std::uint8_t, 28> reserved;
  std::uint32_t crc32c;  // of the bytes before it
};
static_assert(sizeof(DirectoryState) == 64);

struct DirectoryHead {
  DirectoryHeader header;
  DirectorySequence sequence;
  DirectoryState state;
};
static_assert(sizeof(DirectoryHead) == 256);

// One for each slot: covers the entry, and is itself covered by index_crc32c.
struct IndexEntry {
  std::uint32_t name_hash;     // crc32c of the name; 0 for a free slot
  std::uint32_t entry_crc32c;  // of the whole entry
};
static_assert(sizeof(IndexEntry) == 8);

enum class EntryState : std::uint32_t {
  free = 0,
  current = 1,   // what the name means
  previous = 2,  // an older version of the same name
  staged = 3,    // being filled; belongs to the holder of the slot's creator lock
  retired = 4,   // nameless; freed once nobody is attached
};

inline constexpr std::uint32_t kEntryImmutable = 1;  // a checkpoint: never attached for writing

//
// A copy, as of publication, stands in the segment's own header page (HeaderPage::backend): from
// these a directory that was damaged can be made anew.
struct DirectoryEntry {
  std::uint32_t state;  // EntryState
  std::uint32_t flags;
  std::uint64_t object_offset_bytes;  // of libpmemobj's object, as in its PMEMoid
  std::uint64_t object_bytes;
  std::uint64_t header_offset_bytes;   // of the segment's header page in the file
  std::uint64_t payload_offset_bytes;  // of the payload, from the header page
  std::uint64_t payload_bytes;         // when the entry was published
  std::uint64_t max_bytes;             // payload bytes that the object has room for
  std::uint64_t version;               // 1 for a new name; one more with each replacement
  std::array<std::uint8_t, 16> uuid;   // of the segment
  std::uint64_t published_unix_ns;
  std::uint64_t checksums_offset_bytes;  // in the file; 0: none
  std::uint64_t checksum_count;          // XXH3-64, one for each block of the payload
  std::uint32_t checksum_block_bytes;
  std::uint32_t checksums_crc32c;  // of the table
  std::uint32_t keep_versions;     // previous ones to keep at a replacement
  std::uint32_t lifetime;          // Lifetime
  std::array<std::uint8_t, 136> reserved_a;
  std::array<char, 208> name;  // zero padded
  std::array<std::uint8_t, 44> reserved_b;
  std::uint32_t crc32c;  // of the bytes before it
};
static_assert(sizeof(DirectoryEntry) == 512);
static_assert(offsetof(DirectoryEntry, name) == 256);

constexpr bool has_state(const DirectoryEntry& entry, EntryState state) {
  return entry.state == static_cast<std::uint32_t>(state);
}

constexpr std::uint64_t directory_index_offset() { return sizeof(DirectoryHead); }
constexpr std::uint64_t directory_entries_offset(std::uint32_t slots) {
  return (sizeof(DirectoryHead) + slots * sizeof(IndexEntry) + 63) & ~std::uint64_t{63};
}
constexpr std::uint64_t directory_bytes(std::uint32_t slots) {
  return directory_entries_offset(slots) + std::uint64_t{slots} * sizeof(DirectoryEntry);
}

}  // namespace strata::inline v0_1
