#include "strata/base/bytes.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <string>

namespace strata::inline v0_1 {
namespace {

// The power of 1024 that a unit stands for, or -1.
int unit_power(std::string_view unit) {
  std::string lower;
  for (char c : unit)
    lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (lower.empty() || lower == "b") return 0;
  const std::size_t power = std::string_view("kmgtpe").find(lower[0]);
  if (power == std::string_view::npos) return -1;
  const std::string_view rest = std::string_view(lower).substr(1);
  if (!rest.empty() && rest != "b" && rest != "ib") return -1;
  return static_cast<int>(power) + 1;
}

}  // namespace

Result<std::uint64_t> parse_bytes(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return fail(Code::invalid_argument,
                fmt::format("size '{}': {}; write it as 4096, 64K, 64M or 1.5G", text, why));
  };
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || std::signbit(number)) return bad("not a number");
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (!unit.empty() && unit.front() == ' ')
    unit.remove_prefix(1);
  const int power = unit_power(unit);
  if (power < 0) return bad("unknown unit");
  // Whole numbers are parsed as such: a double would lose bits above 2^53.
  std::uint64_t whole = 0;
  const auto integer = std::from_chars(text.data(), end, whole);
  if (integer.ec == std::errc() && integer.ptr == end) {
    if (whole > (std::uint64_t{1} << 63) >> (10 * power)) return bad("too large");
    return whole << (10 * power);
  }
  const double bytes = std::ldexp(number, 10 * power);
  if (!(bytes < std::ldexp(1.0, 63))) return bad("too large");
  return static_cast<std::uint64_t>(bytes);
}

std::string count_of(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string format_bytes(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  int power = 0;
  while (power < 6 && bytes >> (10 * (power + 1)))
    ++power;
  const double value = std::ldexp(static_cast<double>(bytes), -10 * power);
  if (value == std::floor(value)) return fmt::format("{:.0f} {}", value, kUnits[power]);
  return fmt::format("{:.{}f} {}", value, value < 100 ? 1 : 0, kUnits[power]);
}

}  // namespace strata::inline v0_1
