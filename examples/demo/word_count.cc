#include "examples/demo/word_count.h"

namespace demo {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_printable(char c) { return c > ' ' && c < 0x7f; }

// Whether a word that began before `position` goes on there. The text is shared, so a worker
// simply looks at what stands before its part.
bool is_in_word(std::string_view text, std::size_t position) {
  while (position > 0) {
    const char before = text[--position];
    if (is_space(before)) return false;
    if (is_printable(before)) return true;
  }
  return false;
}

}  // namespace

Tally& Tally::operator+=(const Tally& other) {
  lines += other.lines;
  words += other.words;
  bytes += other.bytes;
  return *this;
}

Tally count(std::string_view text, std::size_t offset_bytes, std::size_t bytes) {
  Tally tally{.lines = 0, .words = 0, .bytes = bytes};
  bool in_word = is_in_word(text, offset_bytes);
  for (const char c : text.substr(offset_bytes, bytes)) {
    if (c == '\n') ++tally.lines;
    if (is_space(c)) {
      in_word = false;
    } else if (!in_word && is_printable(c)) {
      in_word = true;
      ++tally.words;
    }
  }
  return tally;
}

}  // namespace demo
