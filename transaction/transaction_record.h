// Reading and writing the records of the transaction log.
//   Threads:  a buffer has one writer at a time; a reader checks whatever it finds.
//   Errors:   every entry is checked for bounds, also against the log's own bytes, just before
//             it is used: a damaged log is reported, never followed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "strata/base/result.h"
#include "transaction/transaction_format.h"

namespace strata::inline v0_1 {

// What entries may name: the payload without the log that is in it.
struct LogBounds {
  std::uint64_t payload_bytes = 0;
  std::uint64_t log_begin = 0;
  std::uint64_t log_end = 0;

  bool contains(std::uint64_t offset, std::uint64_t bytes) const {
    return offset <= payload_bytes && bytes <= payload_bytes - offset &&
           (offset >= log_end || offset + bytes <= log_begin);
  }
};

struct Entry {
  EntryKind kind;
  std::uint64_t offset;
  std::span<const std::byte> data;  // empty for allocate and free
};

// Walks entries that lie one behind the other.
class EntryCursor {
 public:
  EntryCursor(std::span<const std::byte> entries, const LogBounds& bounds)
      : at_(entries.data()), end_(entries.data() + entries.size()), bounds_(bounds) {}

  // False at the end, and at an entry that is malformed.
  bool next(Entry& entry) {
    if (at_ == end_) return false;
    EntryHead head;
    const auto left = static_cast<std::size_t>(end_ - at_);
    if (left < sizeof(head)) return malformed();
    std::memcpy(&head, at_, sizeof(head));
    const bool has_data = head.kind == static_cast<std::uint32_t>(EntryKind::write) ||
                          head.kind == static_cast<std::uint32_t>(EntryKind::undo);
    const std::uint64_t data_bytes = has_data ? head.bytes : 0;
    if (head.kind == 0 || head.kind > static_cast<std::uint32_t>(EntryKind::free) ||
        align_up(data_bytes, 8) > left - sizeof(head) ||
        !bounds_.contains(head.offset, data_bytes)) {
      return malformed();
    }
    entry = {static_cast<EntryKind>(head.kind), head.offset, {at_ + sizeof(head), data_bytes}};
    at_ += sizeof(head) + align_up(data_bytes, 8);
    return true;
  }
  bool is_malformed() const { return is_malformed_; }

 private:
  bool malformed() {
    is_malformed_ = true;
    at_ = end_;
    return false;
  }

  const std::byte* at_;
  const std::byte* end_;
  LogBounds bounds_;
  bool is_malformed_ = false;
};

// The bytes that an entry takes in a record.
constexpr std::uint64_t entry_bytes(std::uint64_t data_bytes) {
  return sizeof(EntryHead) + align_up(data_bytes, 8);
}

// Writes an entry at `to`, which has room for it. `data` may be null: room is left for the data.
inline void put_entry(std::byte* to, EntryKind kind, std::uint64_t offset, const void* data,
                      std::uint64_t bytes) {
  const EntryHead head = {offset, static_cast<std::uint32_t>(bytes),
                          static_cast<std::uint32_t>(kind)};
  std::memcpy(to, &head, sizeof(head));
  if (bytes % 8 != 0) std::memset(to + sizeof(head) + bytes - bytes % 8, 0, 8);
  if (bytes != 0) std::memcpy(to + sizeof(head), data, bytes);
}

struct Record {
  RecordKind kind;
  std::uint64_t sequence;
  std::span<const std::byte> entries;
  std::uint64_t end_bytes;  // in the buffer: where the next record starts
};

// Completes the record of `bytes` bytes (head and entries) at the start of `record`.
void finish_record(std::span<std::byte> record, RecordKind kind, std::uint64_t sequence,
                   std::uint64_t seed);

// The record at `at_bytes`, where its checksum is right.
std::optional<Record> read_record(std::span<const std::byte> buffer, std::uint64_t at_bytes,
                                  std::uint64_t seed);

// The record there, by its head alone: for records that this generation has sealed, and that
// may have been made void since.
std::optional<Record> read_live_record(std::span<const std::byte> buffer, std::uint64_t at_bytes);

// Makes the record void for every later reader. Returns the bytes to flush.
std::span<const std::byte> void_record(std::span<std::byte> buffer, std::uint64_t at_bytes);

// The seed of the records of one epoch of one log.
std::uint64_t record_seed(std::uint64_t log_seed, std::uint64_t epoch);

std::uint64_t mark_check(const LogMark& mark, std::span<const std::uint64_t> floors,
                         std::uint64_t log_seed);

}  // namespace strata::inline v0_1
