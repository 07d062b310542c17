#include "transaction/transaction_record.h"

// Inline: most records are so short that a call would cost as much as the hash.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/long_hash.h"

namespace strata::inline v0_1 {
namespace {

constexpr std::size_t kLongBytes = 512;

std::uint64_t check_of(std::span<const std::byte> record, std::uint64_t seed) {
  const std::uint64_t head_hash =
      XXH3_64bits_withSeed(record.data(), offsetof(RecordHead, check), seed);
  const auto entries = record.subspan(sizeof(RecordHead));
  const std::uint64_t hash = entries.size() > kLongBytes
                                 ? hash_long(entries, head_hash)
                                 : XXH3_64bits_withSeed(entries.data(), entries.size(), head_hash);
  return hash == 0 ? 1 : hash;  // 0 marks a void record
}

bool is_kind(std::uint32_t kind) {
  return kind == static_cast<std::uint32_t>(RecordKind::part) ||
         kind == static_cast<std::uint32_t>(RecordKind::commit);
}

}  // namespace

void finish_record(std::span<std::byte> record, RecordKind kind, std::uint64_t sequence,
                   std::uint64_t seed) {
  RecordHead head = {static_cast<std::uint32_t>(kind), 0, sequence, record.size(), 0, {}};
  std::memcpy(record.data(), &head, sizeof(head));
  head.check = check_of(record, seed);
  std::memcpy(record.data() + offsetof(RecordHead, check), &head.check, sizeof(head.check));
}

std::optional<Record> read_live_record(std::span<const std::byte> buffer, std::uint64_t at_bytes) {
  if (at_bytes > buffer.size() || buffer.size() - at_bytes < sizeof(RecordHead)) return {};
  RecordHead head;
  std::memcpy(&head, buffer.data() + at_bytes, sizeof(head));
  if (!is_kind(head.kind) || head.bytes < sizeof(head) || head.bytes % 8 != 0 ||
      head.bytes > buffer.size() - at_bytes) {
    return {};
  }
  return Record{static_cast<RecordKind>(head.kind), head.sequence,
                buffer.subspan(at_bytes + sizeof(head), head.bytes - sizeof(head)),
                align_up(at_bytes + head.bytes, kCacheLineBytes)};
}

std::optional<Record> read_record(std::span<const std::byte> buffer, std::uint64_t at_bytes,
                                  std::uint64_t seed) {
  std::optional<Record> record = read_live_record(buffer, at_bytes);
  if (!record) return {};
  const std::span<const std::byte> bytes =
      buffer.subspan(at_bytes, sizeof(RecordHead) + record->entries.size());
  std::uint64_t check = 0;
  std::memcpy(&check, bytes.data() + offsetof(RecordHead, check), sizeof(check));
  if (check != check_of(bytes, seed)) return {};
  return record;
}

std::span<const std::byte> void_record(std::span<std::byte> buffer, std::uint64_t at_bytes) {
  const std::span<std::byte> check =
      buffer.subspan(at_bytes + offsetof(RecordHead, check), sizeof(RecordHead::check));
  std::memset(check.data(), 0, check.size());
  return check;
}

std::uint64_t record_seed(std::uint64_t log_seed, std::uint64_t epoch) {
  return XXH3_64bits_withSeed(&epoch, sizeof(epoch), log_seed);
}

std::uint64_t mark_check(const LogMark& mark, std::span<const std::uint64_t> floors,
                         std::uint64_t log_seed) {
  const std::uint64_t seed = XXH3_64bits_withSeed(&mark, offsetof(LogMark, check), log_seed);
  return XXH3_64bits_withSeed(floors.data(), floors.size_bytes(), seed);
}

}  // namespace strata::inline v0_1
