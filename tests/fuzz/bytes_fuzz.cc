// parse_bytes takes text from a command line: whatever stands there, it answers.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "strata/base/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t data_bytes) {
  const std::string_view text(reinterpret_cast<const char*>(data), data_bytes);
  const auto bytes = strata::parse_bytes(text);
  if (!bytes) return 0;
  STRATA_CHECK(*bytes <= std::uint64_t{1} << 63);
  // What is printed for people can be typed in again, except where rounding passes the limit.
  if (*bytes >= std::uint64_t{1} << 62) return 0;
  STRATA_CHECK(strata::parse_bytes(strata::format_bytes(*bytes)).has_value());
  return 0;
}
