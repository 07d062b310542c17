#include "gpu/peer_protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/crc32c.h"

namespace strata::inline v0_1::cuda {
namespace {

constexpr std::size_t kUuidDigits = 32;
constexpr std::size_t kRandomDigits = 16;
constexpr std::size_t kEntryBytes = kUuidDigits + 1 + kRandomDigits;

std::uint32_t checksum(const PeerRecord& record) {
  return crc32c(std::as_bytes(std::span(&record, 1)).first(offsetof(PeerRecord, crc32c)));
}

bool is_hexadecimal(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

void sign(PeerRecord& record) { record.crc32c = checksum(record); }

Result<PeerRecord> read_peer_record(std::span<const std::byte> bytes) {
  PeerRecord record;
  if (bytes.size() < sizeof record) return fail(Code::corrupt, "peer record: too short");
  std::memcpy(&record, bytes.data(), sizeof record);
  if (record.magic != kRecordMagic) return fail(Code::corrupt, "peer record: wrong magic");
  if (record.version != kPeerVersion) {
    return fail(Code::unsupported, fmt::format("peer record: version {} unknown", record.version));
  }
  const auto role = static_cast<PeerRole>(record.role);
  const auto access = static_cast<Access>(record.access);
  const bool is_sound = record.record_bytes == sizeof record && record.crc32c == checksum(record) &&
                        (role == PeerRole::consumer || role == PeerRole::holder) &&
                        (access == Access::read_only || access == Access::read_write ||
                         access == Access::copy_on_write);
  if (!is_sound) return fail(Code::corrupt, "peer record: fails its checks");
  return record;
}

PeerQuestion make_question(PeerOp op, const SegmentUuid& uuid, std::uint64_t generation) {
  return {kAskMagic, kPeerVersion, static_cast<std::uint16_t>(op), uuid, generation, {}};
}

std::optional<PeerOp> op_of(const PeerQuestion& question) {
  if (question.magic != kAskMagic || question.version != kPeerVersion) return std::nullopt;
  switch (static_cast<PeerOp>(question.op)) {
    case PeerOp::give:
    case PeerOp::leave:
    case PeerOp::release: return static_cast<PeerOp>(question.op);
  }
  return std::nullopt;
}

PeerAnswer make_answer(PeerOutcome outcome, const SegmentUuid& uuid, std::uint64_t generation) {
  return {kAnswerMagic, kPeerVersion, static_cast<std::uint16_t>(outcome), uuid, generation, {}};
}

std::optional<PeerOutcome> outcome_of(const PeerAnswer& answer, const SegmentUuid& uuid) {
  const bool is_ours =
      answer.magic == kAnswerMagic && answer.version == kPeerVersion && answer.uuid == uuid;
  if (!is_ours) return std::nullopt;
  switch (static_cast<PeerOutcome>(answer.outcome)) {
    case PeerOutcome::given:
    case PeerOutcome::nothing:
    case PeerOutcome::stale:
    case PeerOutcome::done:
    case PeerOutcome::refused: return static_cast<PeerOutcome>(answer.outcome);
  }
  return std::nullopt;
}

std::string entry_beginning(const SegmentUuid& uuid) {
  std::string text;
  text.reserve(kEntryBytes + kPeerEnding.size());
  for (const std::uint8_t byte : uuid)
    fmt::format_to(std::back_inserter(text), "{:02x}", byte);
  return text + '.';
}

std::optional<std::string> entry_of(std::string_view file_name) {
  if (file_name.size() <= kEntryBytes) return std::nullopt;
  const std::string_view entry = file_name.substr(0, kEntryBytes);
  const std::string_view ending = file_name.substr(kEntryBytes);
  const bool is_entry =
      is_hexadecimal(entry.substr(0, kUuidDigits)) && entry[kUuidDigits] == '.' &&
      is_hexadecimal(entry.substr(kUuidDigits + 1)) &&
      (ending == kPeerEnding || ending == kSocketEnding || ending == kUnfinishedEnding);
  if (!is_entry) return std::nullopt;
  return std::string(entry);
}

SegmentUuid uuid_of_entry(std::string_view entry) {
  SegmentUuid uuid{};
  for (std::size_t i = 0; i < uuid.size() && 2 * i + 2 <= entry.size(); ++i)
    std::from_chars(entry.data() + 2 * i, entry.data() + 2 * i + 2, uuid[i], 16);
  return uuid;
}

}  // namespace strata::inline v0_1::cuda
