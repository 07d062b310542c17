#include "transaction/transaction_check.h"

#include <fmt/format.h>

#include <cstring>

#include "base/crc32c.h"
#include "transaction/transaction_record.h"

namespace strata::inline v0_1 {
namespace {

class LogChecker {
 public:
  LogChecker(std::span<const std::byte> payload, std::uint64_t log_offset,
             const LogIdentity& identity)
      : identity_(identity),
        bounds_({payload.size(), log_offset, log_offset + identity.log_bytes}),
        log_(payload.subspan(log_offset, identity.log_bytes)) {}

  LogReport run() {
    report_.slots = identity_.slot_count;
    report_.next_sequence = reinterpret_cast<const LogHeader*>(log_.data())
                                ->next_sequence.load(std::memory_order_relaxed);
    std::vector<std::uint64_t> floors_a, floors_b;
    const auto a = read_log_mark(log_.data(), identity_, 0, floors_a);
    const auto b = read_log_mark(log_.data(), identity_, 1, floors_b);
    if (!a && !b) {
      report_.findings.push_back("neither of its marks is valid");
      return std::move(report_);
    }
    const bool takes_a = a && (!b || a->turn > b->turn);
    seed_ = record_seed(identity_.seed, (takes_a ? a : b)->epoch);
    for (std::uint32_t i = 0; i < identity_.slot_count; ++i)
      check_slot(i, (takes_a ? floors_a : floors_b)[i]);
    return std::move(report_);
  }

 private:
  void check_slot(std::uint32_t index, std::uint64_t floor) {
    const auto buffer = log_.subspan(
        slot_buffers_at(identity_.slot_count) + index * identity_.slot_bytes, identity_.slot_bytes);
    std::uint64_t previous = 0;
    for (std::uint64_t at = 0; at < buffer.size();) {
      const std::optional<Record> record = read_record(buffer, at, seed_);
      if (!record || record->sequence <= previous) return;
      previous = record->sequence;
      if (record->sequence > floor) check_record(index, buffer, at, *record);
      at = record->end_bytes;
    }
  }

  void check_record(std::uint32_t index, std::span<const std::byte> buffer, std::uint64_t at,
                    const Record& record) {
    ++report_.records;
    EntryCursor cursor(record.entries, bounds_);
    for (Entry entry; cursor.next(entry);) {
    }
    if (!cursor.is_malformed()) return;
    // Its slot may have begun anew meanwhile.
    const std::optional<Record> again = read_record(buffer, at, seed_);
    if (!again || again->sequence != record.sequence) return;
    report_.findings.push_back(fmt::format(
        "slot {}: record {} has a valid checksum and a malformed entry", index, record.sequence));
  }

  const LogIdentity identity_;
  const LogBounds bounds_;
  const std::span<const std::byte> log_;
  std::uint64_t seed_ = 0;
  LogReport report_;
};

}  // namespace

std::uint32_t log_identity_crc(const LogIdentity& identity) {
  return crc32c(std::as_bytes(std::span(&identity, 1)).first(offsetof(LogIdentity, crc32c)));
}

Result<LogIdentity> read_log_identity(std::span<const std::byte> payload,
                                      std::uint64_t log_offset) {
  const auto bad = [&](std::string_view why) {
    return fail(Code::corrupt, fmt::format("transaction log at {}: {}", log_offset, why));
  };
  if (log_offset % kCacheLineBytes != 0 || log_offset > payload.size() ||
      sizeof(LogHeader) > payload.size() - log_offset) {
    return bad("lies outside the payload");
  }
  // One copy first: what is checked below is what the caller gets, whoever writes meanwhile.
  LogIdentity identity;
  std::memcpy(&identity, payload.data() + log_offset, sizeof(identity));
  if (identity.magic != kLogMagic) return bad("no magic");
  if (identity.version != kLogVersion) {
    return fail(Code::unsupported, fmt::format("transaction log at {}: version {}, known is {}",
                                               log_offset, identity.version, kLogVersion));
  }
  if (identity.crc32c != log_identity_crc(identity)) return bad("checksum of the header is wrong");
  const TransactionLogOptions options = {.slot_count = identity.slot_count,
                                         .slot_bytes = identity.slot_bytes};
  if (options.slot_count == 0 || options.slot_count > 4096 || options.slot_bytes < kPageBytes ||
      options.slot_bytes % kPageBytes != 0 || options.slot_bytes > GiB(1) ||
      identity.log_bytes != options.log_bytes() ||
      identity.log_bytes > payload.size() - log_offset) {
    return bad("sizes do not fit each other or the payload");
  }
  return identity;
}

std::optional<LogMark> read_log_mark(const std::byte* log, const LogIdentity& identity,
                                     std::uint64_t parity, std::vector<std::uint64_t>& floors) {
  LogMark mark;
  const std::byte* const place = log + sizeof(LogHeader) + parity * mark_bytes(identity.slot_count);
  std::memcpy(&mark, place, sizeof(mark));
  floors.resize(identity.slot_count);
  std::memcpy(floors.data(), place + sizeof(mark), floors.size() * sizeof(std::uint64_t));
  if (mark.epoch == 0 || mark.turn % 2 != parity ||
      mark.check != mark_check(mark, floors, identity.seed)) {
    return {};
  }
  return mark;
}

LogReport check_transaction_log(std::span<const std::byte> payload, std::uint64_t log_offset) {
  const auto identity = read_log_identity(payload, log_offset);
  if (!identity) {
    LogReport report;
    report.findings.push_back(identity.error().message());
    return report;
  }
  return LogChecker(payload, log_offset, *identity).run();
}

}  // namespace strata::inline v0_1
