// The bytes of the transaction log; docs/format/transaction_log.md is their contract.
//
//     LogHeader (4 KiB) | mark A | mark B | SlotHead x slot_count | padding | slot buffers
//
// What survives a power failure is the immutable head, the two marks and the records in the slot
// buffers. Everything else is live state: it belongs to one generation, as locks do, and says to
// the next process what a killed one was doing.
//   Errors:   every byte may be damaged: transaction_record.h checks records before use.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "strata/base/bytes.h"
#include "strata/sync/robust_mutex.h"
#include "strata/sync/shared_word.h"
#include "strata/sync/wake_word.h"
#include "strata/transaction/transaction.h"

namespace strata::inline v0_1 {

inline constexpr std::array<char, 8> kLogMagic = {'S', 'T', 'R', 'A', 'T', 'L', 'O', 'G'};
inline constexpr std::uint32_t kLogVersion = 1;

// The durable mark: two copies, written in turn, of which the newest valid one counts. Behind this
// head stands, for each slot, the sequence up to which its records are in place, durable and void.
struct LogMark {
  std::uint64_t turn;   // counts the writes of the mark
  std::uint64_t epoch;  // records of another epoch are void
  std::uint64_t check;  // XXH3-64 of the words before and of the floors, seeded
};
static_assert(sizeof(LogMark) == 24);

constexpr std::uint64_t mark_bytes(std::uint32_t slot_count) {
  return align_up(sizeof(LogMark) + slot_count * sizeof(std::uint64_t), 512);
}

// What never changes once the log is made. Whoever uses a log works with a checked copy of it
// (read_log_identity): what stands in the log may be overwritten at any time.
struct LogIdentity {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t slot_count;
  std::uint64_t slot_bytes;  // of one buffer; a multiple of 4 KiB
  std::uint64_t log_bytes;   // of the whole log
  std::uint64_t seed;        // random; keeps the records of an earlier heap from being read
  std::array<std::uint8_t, 20> reserved;
  std::uint32_t crc32c;  // of the bytes before it
};
static_assert(sizeof(LogIdentity) == 64 && offsetof(LogIdentity, crc32c) == 60);

struct LogHeader {
  LogIdentity identity;  // 0
  std::array<std::uint8_t, 1472> reserved_b;
  // 1536: live words.
  SharedWord<std::uint64_t> live_generation;  // of all live words; stored last by recovery
  SharedWord<std::uint64_t> next_sequence;
  SharedWord<std::uint64_t> epoch;  // as in the newest mark
  std::array<std::uint8_t, 40> reserved_c;
  RobustMutex upkeep;      // 1600: recovery at open, checkpoints
  RobustMutex group_sync;  // 1664: held by the committer that syncs for all
  WakeWord group_synced;   // 1728: where the others sleep
  std::array<std::uint8_t, 2364> reserved_d;
};
static_assert(sizeof(LogHeader) == 4096);
static_assert(offsetof(LogHeader, live_generation) == 1536);
static_assert(offsetof(LogHeader, upkeep) == 1600 && offsetof(LogHeader, group_sync) == 1664);

enum class SlotState : std::uint32_t {
  idle = 0,
  active = 1,     // nothing but snapshotted ranges, tentative and reserved blocks is changed
  committed = 2,  // the record is whole: whoever finds it so completes it
  releasing = 3,  // what it did has been done; blocks in state `freeing` are being made free
  undone = 4,     // as releasing, after a rollback
};

// How far a buffer is filled.
struct Extent {
  std::uint32_t used_bytes;  // end of the last sealed record
  std::uint32_t open_bytes;  // whole entries of the record that is open there, with its head

  static constexpr Extent of(std::uint64_t word) {
    return {static_cast<std::uint32_t>(word), static_cast<std::uint32_t>(word >> 32)};
  }
  constexpr std::uint64_t word() const { return std::uint64_t{open_bytes} << 32 | used_bytes; }
};

// What one transaction at a time is doing. All of it is live state.
struct SlotHead {
  SharedWord<std::uint64_t> owner;  // generation << 32 | token; 0: free
  SharedWord<std::uint32_t> state;  // SlotState
  SharedWord<std::uint32_t> lock_count;
  SharedWord<std::uint64_t> extent;            // Extent: one word, so that both change at once
  SharedWord<std::uint64_t> first_bytes;       // start of the first record of this transaction
  SharedWord<std::uint64_t> low_sequence;      // not above any sequence it will use; 0: uses none
  SharedWord<std::uint64_t> last_sequence;     // of the last record it sealed
  SharedWord<std::uint64_t> durable_sequence;  // up to here its records were synced
  SharedWord<std::uint64_t> retired_sequence;  // up to here its records may be overwritten
  std::array<SharedWord<std::uint64_t>, kMaxTransactionLocks> locks;  // offsets in the payload
  RobustMutex recovery;  // held by whoever completes or undoes it for a dead owner
  std::array<std::uint8_t, 64> reserved_b;
};
static_assert(sizeof(SlotHead) == 256 && offsetof(SlotHead, retired_sequence) == 56);
static_assert(offsetof(SlotHead, locks) == 64 && offsetof(SlotHead, recovery) == 128);

// Where they begin in the log.
constexpr std::uint64_t slot_heads_at(std::uint32_t slot_count) {
  return sizeof(LogHeader) + 2 * mark_bytes(slot_count);
}
constexpr std::uint64_t slot_buffers_at(std::uint32_t slot_count) {
  return align_up(slot_heads_at(slot_count) + slot_count * sizeof(SlotHead), kPageBytes);
}

enum class RecordKind : std::uint32_t {
  part = 0x54524150,    // "PART": more follows, or the transaction never committed
  commit = 0x544d4f43,  // "COMT": the last record of a transaction that committed
};

// A record starts on a cache line. It is valid if its checksum is.
struct RecordHead {
  std::uint32_t kind;  // RecordKind
  std::uint32_t reserved;
  std::uint64_t sequence;
  std::uint64_t bytes;  // with this head, without padding; a multiple of 8
  std::uint64_t check;  // XXH3-64 over the fields before and the entries, seeded
  // So that the bytes of the first entry, the only one of most records, start on a cache line.
  std::array<std::uint8_t, 16> padding;
};
static_assert(sizeof(RecordHead) == 48);

enum class EntryKind : std::uint32_t {
  write = 1,     // new bytes follow
  undo = 2,      // old bytes follow
  allocate = 3,  // of the block at the offset
  free = 4,
};

// Followed by `bytes` bytes (write, undo only), padded with zeros to a multiple of 8.
struct EntryHead {
  std::uint64_t offset;  // in the payload
  std::uint32_t bytes;
  std::uint32_t kind;  // EntryKind
};
static_assert(sizeof(EntryHead) == 16);

}  // namespace strata::inline v0_1
