// Byte counts: literals for code, parsing and printing for people. Units are binary.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "strata/base/result.h"

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

constexpr std::uint64_t KiB(std::uint64_t count) { return count << 10; }
constexpr std::uint64_t MiB(std::uint64_t count) { return count << 20; }
constexpr std::uint64_t GiB(std::uint64_t count) { return count << 30; }

inline constexpr std::uint64_t kPageBytes = 4096;
inline constexpr std::uint64_t kCacheLineBytes = 64;

// `value` rounded up to a multiple of `alignment` (a power of two), or 0 where that overflows.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

// "64M", "1.5G", "4096", "2MiB", "16 kB": K, M, G, T, P and E are powers of 1024 with or without
// "iB"/"B". Errors: invalid_argument for anything else, negative or over 2^63.
Result<std::uint64_t> parse_bytes(std::string_view text);

// "64 MiB", "1.5 GiB", "17 B": the largest unit that keeps the number at 1 or above.
std::string format_bytes(std::uint64_t bytes);
// "1 block", "3 blocks".
std::string count_of(std::uint64_t count, std::string_view noun);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
