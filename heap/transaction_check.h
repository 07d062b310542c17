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

#include "base/result.h"
#include "heap/transaction_format.h"
#include "heap/transaction_log.h"

namespace strata {

// What of the log survives a power failure: its head, its marks, and every record that an open
// after that would repeat or undo, down to where each entry leads. Fills slots, records and
// findings.
LogReport check_transaction_log(std::span<const std::byte> payload, std::uint64_t log_offset);

// The log at that offset, once its head has been checked: magic, version, checksum, sizes.
// Errors: corrupt; unsupported for a newer version.
Result<const LogHeader*> find_transaction_log(std::span<const std::byte> payload,
                                              std::uint64_t log_offset);

std::uint32_t log_header_crc(const LogHeader& header);

// The mark at that parity of turns, if it is valid; its floors are copied to `floors`.
std::optional<LogMark> read_log_mark(const LogHeader& header, std::uint64_t parity,
                                     std::vector<std::uint64_t>& floors);

}  // namespace strata
