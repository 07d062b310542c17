// What the payloads of the golden segments say.
#pragma once

#include <cstdint>
#include <string>

namespace strata::inline v0_1::golden {

inline constexpr std::uint64_t kCreatedBytes = 5000;
inline constexpr std::uint64_t kGrownBytes = 9000;

// "line 0\nline 1\n…", cut.
inline std::string golden_text(std::uint64_t bytes) {
  std::string text;
  for (int line = 0; text.size() < bytes; ++line)
    text += "line " + std::to_string(line) + "\n";
  text.resize(bytes);
  return text;
}

}  // namespace strata::inline v0_1::golden
