// Looks at a transaction log without opening it, which would recover it.
//   Threads:  any; exact when no transaction runs meanwhile, and never wrong about damage.
//   Errors:   what is wrong is in the report's findings.
//   Cost:     reads every record that has not been retired.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "strata/base/result.h"
#include "transaction/transaction_format.h"
#include "transaction/transaction_log.h"

namespace strata::inline v0_1 {

// What of the log survives a power failure: its head, its marks, and every record that an open
// after that would repeat or undo, down to where each entry leads. Fills slots, records and
// findings.
LogReport check_transaction_log(std::span<const std::byte> payload, std::uint64_t log_offset);

// A checked copy of what the log at that offset says of itself: magic, version, checksum, sizes
// that fit each other and the payload. Errors: corrupt; unsupported for a newer version.
Result<LogIdentity> read_log_identity(std::span<const std::byte> payload, std::uint64_t log_offset);

std::uint32_t log_identity_crc(const LogIdentity& identity);

// The mark at that parity of turns of the log that begins at `log`, if it is valid; its floors, one
// for each slot, are copied to `floors`.
std::optional<LogMark> read_log_mark(const std::byte* log, const LogIdentity& identity,
                                     std::uint64_t parity, std::vector<std::uint64_t>& floors);

}  // namespace strata::inline v0_1
