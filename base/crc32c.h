// CRC-32C (Castagnoli), the checksum of every header and log record.
//   Source:   RFC 3720, appendix B.4; the SSE 4.2 instruction where there is one, else Boost.CRC.
//   Cost:     about 0.15 ns a byte with the instruction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace strata::inline v0_1 {

// The checksum of `bytes`. To go on over a second range pass the first result as `previous`.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous = 0);

}  // namespace strata::inline v0_1
