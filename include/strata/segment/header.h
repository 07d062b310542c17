// The 4 KiB header page that every segment begins with; docs/format/header.md is its contract.
//   Threads:  the identity block never changes once published; live words are atomics, each on
//             its own cache line.
//   Errors:   every byte may have been written by somebody hostile: copy the identity out with
//             read_identity_block(), which checks it, and never trust the page itself.
// All integers are little-endian, fixed width; unused bytes are zero.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "strata/base/bytes.h"
#include "strata/base/result.h"
#include "strata/segment/content.h"
#include "strata/segment/options.h"
#include "strata/sync/robust_mutex.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

inline constexpr std::uint64_t kHeaderBytes = 4096;
inline constexpr std::array<char, 8> kHeaderMagic = {'S', 'T', 'R', 'A', 'T', 'A', '\r', '\n'};
inline constexpr std::uint16_t kHeaderVersionMajor = 1;
inline constexpr std::uint16_t kHeaderVersionMinor = 0;
inline constexpr std::size_t kMaxReportedNodes = 64;

enum class SegmentKind : std::uint32_t { shm = 1, pmem = 2, cuda = 3, fake = 4 };
std::string_view kind_name(SegmentKind kind);
// The kind behind a number that came from outside; none where no kind has it.
std::optional<SegmentKind> segment_kind(std::uint64_t number);

enum class SegmentState : std::uint32_t {
  blank = 0,
  initialising = 1,  // identity is complete; the creator is filling the payload
  ready = 2,
  sealed = 3,   // content is final and hashed; nobody maps it writable
  retired = 4,  // being removed: the name may already mean another segment
};
std::string_view state_name(SegmentState state);

// Bytes 0..1023: immutable after publication.
struct IdentityBlock {
  std::array<char, 8> magic;
  std::uint16_t version_major;
  std::uint16_t version_minor;
  std::uint32_t header_bytes;
  std::uint64_t features_ignorable;  // unknown bits may be ignored
  std::uint64_t features_required;   // unknown bits: refuse
  std::uint64_t features_read_only;  // unknown bits: attach read-only
  std::uint32_t kind;                // SegmentKind
  std::uint32_t lifetime;            // Lifetime
  std::array<std::uint8_t, 16> uuid;
  std::uint64_t created_payload_bytes;
  std::uint64_t max_bytes;  // payload bytes it may grow to; at least created_payload_bytes
  std::uint64_t payload_offset_bytes;
  std::uint64_t page_bytes;        // mapping unit of the payload: 4 KiB, 2 MiB or 1 GiB
  std::uint32_t page_size;         // PageSize that was asked for
  std::uint32_t payload_is_apart;  // 1: the payload is a file of its own (hugetlb)
  std::uint32_t creator_pid;       // for messages; liveness is a lock
  std::uint32_t creator_uid;
  std::uint64_t creator_start_time_ticks;
  std::uint64_t creator_pid_namespace;
  std::array<std::uint8_t, 16> boot_id;
  std::uint64_t created_unix_ns;
  std::array<char, 256> name;       // zero padded; empty for an anonymous segment
  std::array<char, 128> job_id;     // zero padded
  std::array<char, 256> placement;  // Placement::to_string() as asked, zero padded
  std::array<std::uint8_t, 228> reserved;
  std::uint32_t crc32c;  // of the bytes before it
};
static_assert(sizeof(IdentityBlock) == 1024);
static_assert(offsetof(IdentityBlock, uuid) == 48);
static_assert(offsetof(IdentityBlock, boot_id) == 128);
static_assert(offsetof(IdentityBlock, name) == 152);
static_assert(offsetof(IdentityBlock, crc32c) == 1020);

// An atomic on a cache line of its own, so that its writers disturb nobody else.
template <typename T>
struct alignas(kCacheLineBytes) LiveWord {
  std::atomic<T> value;
  std::array<std::uint8_t, kCacheLineBytes - sizeof(T)> reserved;
};

// Bytes 1024..1535.
struct LiveBlock {
  LiveWord<std::uint32_t> state;             // SegmentState; `ready` is stored last
  LiveWord<std::uint64_t> generation;        // changes when lock state must be discarded
  LiveWord<std::uint64_t> payload_bytes;     // now; only ever grows
  LiveWord<std::uint32_t> next_participant;  // the next token to hand out
  std::array<std::uint8_t, 256> reserved;
};
static_assert(sizeof(LiveBlock) == 512);

// Bytes 1536..1663: written before the state becomes `sealed`.
struct SealBlock {
  std::uint64_t sealed_bytes;
  std::array<std::uint8_t, 16> hash;  // XXH3-128, canonical byte order
  std::uint32_t hash_algorithm;       // 1: XXH3-128
  std::array<std::uint8_t, 96> reserved;
  std::uint32_t crc32c;  // of the bytes before it
};
static_assert(sizeof(SealBlock) == 128);

// Bytes 1664..2047: what the payload is, written before the segment has a name, and never changed.
// All zeros where nothing is said, as in headers made before this block.
struct ContentBlock {
  std::array<char, 64> type;        // zero padded, as all text
  std::array<char, 16> element;     // NumPy's typestr
  std::uint32_t dimensions;         // of `shape`
  std::uint32_t features_required;  // unknown bits: what it says cannot be understood
  std::array<std::uint64_t, kMaxDimensions> shape;  // zeros behind the dimensions
  std::array<std::uint8_t, 164> reserved;
  std::uint32_t crc32c;  // of the bytes before it
};
static_assert(sizeof(ContentBlock) == 384);
static_assert(offsetof(ContentBlock, shape) == 88 && offsetof(ContentBlock, crc32c) == 380);

// Bytes 2048..2687: what placement got, written after every commit, growth and migration.
// Advisory: it is evidence for people, and checked anew by whoever relies on it.
struct PlacementBlock {
  std::uint64_t sequence;  // odd while it is being written
  std::uint64_t pages_total;
  std::uint64_t pages_absent;
  std::uint64_t huge_bytes;                                    // mapped by pages above 4 KiB
  std::array<std::uint64_t, kMaxReportedNodes> pages_on_node;  // in units of 4 KiB
  std::array<std::uint8_t, 92> reserved;
  std::uint32_t crc32c;  // of the bytes before it
};
static_assert(sizeof(PlacementBlock) == 640);

// Bytes 2688..3071: where the last migration put the segment, for growth to follow. Zeros before
// the first one; written and read under the segment's change lock.
struct MigrationBlock {
  std::array<char, 256> placement;  // Placement::to_string(), zero padded
  std::array<std::uint8_t, 124> reserved;
  std::uint32_t crc32c;  // of the bytes before it
};
static_assert(sizeof(MigrationBlock) == 384);

// Bytes 3584..4095: the segment's own lock (Segment::mutex), for what its payload holds. Zeros are
// a lock that is free.
struct alignas(kCacheLineBytes) LockBlock {
  RobustMutex mutex;
  std::array<std::uint8_t, 448> reserved;
};
static_assert(sizeof(LockBlock) == 512);

struct HeaderPage {
  IdentityBlock identity;                 // 0
  LiveBlock live;                         // 1024
  SealBlock seal;                         // 1536
  ContentBlock content;                   // 1664
  PlacementBlock placement;               // 2048
  MigrationBlock migration;               // 2688
  std::array<std::uint8_t, 512> backend;  // 3072: the backend's own (pmem: A/B slots)
  LockBlock lock;                         // 3584
};
static_assert(sizeof(HeaderPage) == kHeaderBytes);
static_assert(offsetof(HeaderPage, live) == 1024 && offsetof(HeaderPage, seal) == 1536);
static_assert(offsetof(HeaderPage, placement) == 2048 && offsetof(HeaderPage, backend) == 3072);
static_assert(offsetof(HeaderPage, lock) == 3584);
static_assert(offsetof(HeaderPage, content) == 1664 && offsetof(HeaderPage, migration) == 2688);

// Fills in `crc32c`. Call it last.
void sign(IdentityBlock& identity);
void sign(SealBlock& seal);
void sign(PlacementBlock& placement);
void sign(MigrationBlock& migration);
void sign(ContentBlock& content);

// A checked copy of the identity block of `page` (at least kHeaderBytes long).
// Order: magic, version, features, crc, bounds. Errors: corrupt; unsupported for a newer major
// version or an unknown required feature, with the bits in the message.
Result<IdentityBlock> read_identity_block(std::span<const std::byte> page);

// Whether it has a feature that this version may read past but must not write under.
bool must_attach_read_only(const IdentityBlock& identity);

// The seal of a payload of so many bytes with that hash (XXH3-128), signed.
SealBlock make_seal_block(std::uint64_t sealed_bytes, const std::array<std::uint8_t, 16>& hash);

// A checked copy of the seal block. Errors: corrupt.
Result<SealBlock> read_seal_block(const HeaderPage& page);

// The block of a new segment, signed; zeros for plain bytes. Errors: as Content::bytes().
Result<ContentBlock> make_content_block(const Content& content);

// What the block says, checked, of a segment that has `payload_bytes` by now. An array that filled
// its payload at creation, but for less than a row, grows with it by whole rows; one that does not
// fit any more has fewer. All else is as it was made.
// Errors: corrupt; unsupported for a feature that this version does not know.
Result<Content> read_content_block(const HeaderPage& page, const IdentityBlock& identity,
                                   std::uint64_t payload_bytes);

// The placement that the segment has by now, as text: that of its last migration, or the one that
// it was made with. A block that fails its checksum was left by a killed migration, and tells
// nothing.
void record_migration(HeaderPage& page, const Placement& placement);
std::string placement_now(const HeaderPage& page, const IdentityBlock& identity);

// The text of a zero-padded field.
template <std::size_t N>
std::string_view padded_text(const std::array<char, N>& field) {
  std::size_t length = 0;
  while (length < N && field[length] != '\0')
    ++length;
  return {field.data(), length};
}

std::string uuid_text(const std::array<std::uint8_t, 16>& uuid);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
