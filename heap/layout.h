// Every byte that a heap puts into its segment; docs/format/heap.md is the contract.
//
//   payload = region 0 | region 1 | …, each region_units units of 64 KiB
//   region  = prefix (region 0: HeapHeader and Slots) | descriptors | hints | spans
//   span    = a run of units: small blocks of one class, or one large block
//
// The two bits of a block are the only truth about it: allocated, and about to be freed (a free
// that must survive a kill half-way). They are the exclusive or of two words: one that the owner of
// the span alone writes, by plain stores, and one that everybody else changes by compare-and-swap.
// So each change of state is one store to one word, and the owner's needs no locked instruction.
// Descriptors are the only truth about units. Hints, counts and caches are derived, and rebuilt
// from these by whoever finds an owner dead.
//   Threads:  all words that change are atomics.
//   Errors:   bytes are hostile: indices are bounded before use, check() proves the rest.
// Integers are little-endian and fixed width; unused bytes are zero.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "heap/size_class.h"
#include "strata/base/bytes.h"
#include "strata/sync/robust_mutex.h"

namespace strata::inline v0_1::heap_layout {

using Word = std::atomic<std::uint64_t>;
static_assert(sizeof(Word) == 8 && Word::is_always_lock_free);

inline constexpr std::array<char, 8> kHeapMagic = {'S', 'T', 'R', 'A', 'H', 'E', 'A', 'P'};
inline constexpr std::uint16_t kHeapVersionMajor = 2;
inline constexpr std::uint16_t kHeapVersionMinor = 0;
inline constexpr unsigned kMaxNodeRanges = 32;
inline constexpr std::uint32_t kSlotCount = 512;
inline constexpr std::uint64_t kMaxRegionUnits = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kMinRegionUnits = 16;
// Blocks are aligned within the payload, and a payload starts on a page.
inline constexpr std::uint64_t kMaxAlignBytes = 4096;
inline constexpr std::uint64_t kMinAlignBytes = 16;

// A stretch of units on one NUMA node; ranges are sorted, and the last reaches to the end.
struct NodeRange {
  std::uint64_t first_unit;
  std::int32_t node;
  std::uint32_t reserved;
};
static_assert(sizeof(NodeRange) == 16);

// Bytes 0..1023 of the payload: immutable once `state` is kHeapReady.
struct HeapIdentity {
  std::array<char, 8> magic;
  std::uint16_t version_major;
  std::uint16_t version_minor;
  std::uint32_t unit_bytes;
  std::uint64_t features_required;  // unknown bits: refuse
  std::uint64_t max_bytes;          // the payload can grow to this
  std::uint64_t region_units;       // a power of two
  std::uint32_t class_count;
  std::uint32_t slot_count;
  std::uint32_t range_count;
  std::uint32_t reserved_a;
  std::array<NodeRange, kMaxNodeRanges> ranges;  // 56
  std::array<std::uint8_t, 452> reserved_b;      // 568
  std::uint32_t crc32c;                          // 1020: of the bytes before it
};
static_assert(sizeof(HeapIdentity) == 1024);
static_assert(offsetof(HeapIdentity, ranges) == 56 && offsetof(HeapIdentity, crc32c) == 1020);

inline constexpr std::uint64_t kHeapBlank = 0;
inline constexpr std::uint64_t kHeapReady = 1;

// The names: a table of NameCell, found through `root`. See names.h.
struct NamesBlock {
  RobustMutex lock;  // 0: guards insertion and removal
  Word root;         // 64: offset of the table | log2 of its cells | version << 48
  Word next;         // 72: a table that is being built, owned by this word
  Word old;          // 80: the table that `next` has replaced or will, freed through this word
  Word live;         // 88: names, a derived count
  Word used;         // 96: cells that are not empty (names and tombstones), a derived count
  Word generation;   // 104: in which the counts were made; of another one they may lag
  std::array<std::uint64_t, 2> reserved;
};
static_assert(sizeof(NamesBlock) == 128);

struct HeapHeader {
  HeapIdentity identity;                           // 0
  Word state;                                      // 1024: kHeapReady is stored last
  std::array<std::uint64_t, 7> reserved_a;         // 1032
  Word unit_limit;                                 // 1088: units that spans may use; only grows
  Word recoveries;                                 // 1096: dead slots cleaned up so far
  Word slot_high;                                  // 1104: slots used at once; only grows
  Word units_generation;                           // 1112: in which the units were last repaired
  std::array<std::uint64_t, 4> reserved_b;         // 1120
  RobustMutex units_lock;                          // 1152: guards taking and giving back of units
  RobustMutex recovery_lock;                       // 1216: held while a dead slot is cleaned up
  NamesBlock names;                                // 1280
  std::array<Word, 64> transactions;               // 1408: the transaction module's own words
  std::array<Word, 16> roots;                      // 1920: for the application
  std::array<std::uint8_t, 4096 - 2048> reserved;  // 2048
};
static_assert(sizeof(HeapHeader) == 4096);
static_assert(offsetof(HeapHeader, unit_limit) == 1088 && offsetof(HeapHeader, units_lock) == 1152);
static_assert(offsetof(HeapHeader, names) == 1280 && offsetof(HeapHeader, transactions) == 1408);

// What one thread of one process has in hand: a cache line per thread. If its owner dies, the
// finder completes or undoes what these words say, then frees the slot.
struct Slot {
  Word owner;   // generation << 32 | token; 0: free
  Word intent;  // block offset | SlotIntent in the low 4 bits; 0: none
  Word place;   // offset of the word that the block is published in, or released from
  Word reserved_a;
  Word record;  // a named object's block that no table names yet (or no more), owned by this word
  std::atomic<std::uint32_t> pid;  // for messages
  std::uint32_t reserved_b;
  Word start_time_ticks;  // for messages
  // Blocks that a transaction has reserved and not yet made tentative. Where it is not 0 in a dead
  // slot, the transaction is recovered before anybody gets the slot's spans.
  Word reserved_blocks;
};
static_assert(sizeof(Slot) == 64);

enum class SlotIntent : std::uint64_t {
  none = 0,
  allocate = 1,  // the block is allocated if and only if `place` holds it
  release = 2,   // the block is freed if and only if `place` no longer holds it
};
inline constexpr std::uint64_t kIntentMask = 15;

// The states of kBlocksPerWord blocks: two bits for each, in the exclusive or of both words.
struct BlockWord {
  Word owners;  // written by the thread that owns the span alone
  Word others;  // changed by anybody else, and by the owner, by compare-and-swap

  std::uint64_t state(std::memory_order order = std::memory_order_acquire) const {
    return owners.load(order) ^ others.load(order);
  }
};
static_assert(sizeof(BlockWord) == 16);

// The descriptor of one unit. `state` packs, from bit 0:
//   4 kind | 8 class | 20 units or distance | 16 owner slot + 1 | 16 sequence
struct Descriptor {
  Word state;
  std::atomic<std::uint32_t> has_news;   // hint: not 0 where others freed blocks of an owned span
  std::atomic<std::uint32_t> is_listed;  // hint: not 0 where the owner knows that it has room
  // The bitmap of a span of up to 1120 blocks; see ClassInfo. Not in the span itself: at the start
  // of each, they would all fall into the same few sets of the processor's cache.
  std::array<BlockWord, kInlineWords> words;
};
static_assert(sizeof(Descriptor) == 9 * 64);  // odd: so that they spread over all sets

enum class UnitKind : std::uint64_t {
  free = 0,
  head = 1,      // first unit of a span of `units`
  interior = 2,  // `distance` units after its head
  meta = 3,      // holds the tables of the region
};

struct UnitState {
  UnitKind kind = UnitKind::free;
  unsigned size_class = 0;
  std::uint32_t units = 0;  // head: of the span; interior: distance to the head
  std::uint32_t owner = 0;  // slot index + 1; 0: nobody
  std::uint32_t sequence = 0;

  static constexpr UnitState of(std::uint64_t word) {
    return {.kind = static_cast<UnitKind>(word & 15),
            .size_class = static_cast<unsigned>(word >> 4 & 0xFF),
            .units = static_cast<std::uint32_t>(word >> 12 & 0xFFFFF),
            .owner = static_cast<std::uint32_t>(word >> 32 & 0xFFFF),
            .sequence = static_cast<std::uint32_t>(word >> 48)};
  }
  constexpr std::uint64_t word() const {
    return static_cast<std::uint64_t>(kind) | std::uint64_t{size_class} << 4 |
           std::uint64_t{units} << 12 | std::uint64_t{owner} << 32 | std::uint64_t{sequence} << 48;
  }
};

// Block bits within a state: block i of 32 has bits 2i (allocated) and 2i + 1 (release pending).
// (1,0) allocated, (1,1) freeing, (0,1) tentative: taken by a transaction; see block_actions.h.
// A place that is no block, at the end of the last word, reads (0,1) for ever.
inline constexpr std::uint64_t kAllocatedBits = 0x5555'5555'5555'5555;

// What the last word of a bitmap holds when every block is free.
constexpr std::uint64_t no_such_blocks(std::uint32_t blocks, std::uint32_t word) {
  const std::uint32_t in_word = blocks - word * kBlocksPerWord;
  if (in_word >= kBlocksPerWord) return 0;
  return ~kAllocatedBits & (~std::uint64_t{0} << (2 * in_word));
}

// Where things stand in a region. All offsets are from the start of the region.
struct RegionLayout {
  std::uint64_t units;  // a power of two

  static constexpr std::uint64_t kSlotsAt = sizeof(HeapHeader);
  static constexpr std::uint64_t kDescriptorsAt = kSlotsAt + kSlotCount * sizeof(Slot);

  constexpr std::uint64_t bytes() const { return units * kUnitBytes; }
  // Hint: one bit per unit, set where it is not free.
  constexpr std::uint64_t used_units_at() const {
    return kDescriptorsAt + units * sizeof(Descriptor);
  }
  constexpr std::uint64_t unit_words() const { return units < 64 ? 1 : units / 64; }
  // Hint: one bit per class, set where the class has a row with a bit set. Two words.
  constexpr std::uint64_t class_mask_at() const { return used_units_at() + unit_words() * 8; }
  // Hint: for each class a row of one bit per unit, set where a span that nobody owns has room.
  constexpr std::uint64_t row_at(unsigned size_class) const {
    return class_mask_at() + 16 + size_class * unit_words() * 8;
  }
  constexpr std::uint64_t meta_units() const {
    return (row_at(kClassCount) + kUnitBytes - 1) / kUnitBytes;
  }
};
static_assert(RegionLayout::kDescriptorsAt == 36864);

// A cell of the table of names. The hash is never 0; 0 is an empty cell.
struct NameCell {
  Word hash;
  Word record;  // offset of the NameRecord | version << 48; 0 in the low 48 bits: a tombstone
};
static_assert(sizeof(NameCell) == 16);

inline constexpr std::size_t kMaxObjectNameBytes = 255;
inline constexpr std::size_t kMaxTypeNameBytes = 255;

// What a name stands for: the start of the block that holds the object, too, so that finding one
// touches few lines. Never changed once published. Behind it stand the name, the object at its
// alignment, and at the next multiple of 8 the type's name.
struct NameRecord {
  std::uint64_t object;       // offset
  std::uint64_t bytes;        // of the object
  std::uint64_t layout_hash;  // of size, alignment, version and the type's whole name
  std::uint32_t align_bytes;
  std::uint16_t name_bytes;
  std::uint16_t type_bytes;
  std::uint32_t crc32c;  // of the record with this field 0, then both names
  std::uint32_t reserved;
};
static_assert(sizeof(NameRecord) == 40);

}  // namespace strata::inline v0_1::heap_layout
