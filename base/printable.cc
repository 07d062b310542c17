#include "base/printable.h"

#include <fmt/format.h>

#include <cstdint>

namespace strata::inline v0_1 {
namespace {

struct Character {
  std::uint32_t code = 0;
  std::size_t bytes = 0;  // 0: no UTF-8
};

// The first character of `text`, by table 3-7 of the Unicode standard: no overlong forms, no
// surrogates, nothing above U+10FFFF.
Character first_of(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t length = lead < 0xC2   ? 0
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                             : lead < 0xF5 ? 4
                                           : 0;
  if (length == 0 || text.size() < length) return {};
  std::uint32_t code = lead & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3Fu);
  }
  constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[length] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return {};
  return {code, length};
}

bool is_visible(std::uint32_t code) {
  if (code < 0x20 || (code >= 0x7F && code < 0xA0)) return false;     // control characters
  if (code == 0xAD || code == 0x61C || code == 0xFEFF) return false;  // hidden; direction
  if (code >= 0x200B && code <= 0x200F) return false;                 // hidden; direction
  if (code >= 0x2028 && code <= 0x202E) return false;                 // lines; direction
  if (code >= 0x2060 && code <= 0x206F) return false;                 // hidden; direction
  return !(code >= 0xFFF9 && code <= 0xFFFB) && !(code >= 0xE0000 && code <= 0xE007F);
}

}  // namespace

std::string printable(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  while (!text.empty()) {
    const Character character = first_of(text);
    const std::size_t bytes = character.bytes == 0 ? 1 : character.bytes;
    if (character.bytes != 0 && is_visible(character.code)) {
      safe += text.substr(0, bytes);
    } else {
      for (const char each : text.substr(0, bytes))
        safe += fmt::format("\\x{:02x}", static_cast<unsigned char>(each));
    }
    text.remove_prefix(bytes);
  }
  return safe;
}

}  // namespace strata::inline v0_1
