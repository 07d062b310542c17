#include "tools/terminal/wrap.h"

#include <algorithm>

#include "tools/terminal/table.h"

namespace strata::inline v0_1::tools {

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t to = std::min(text.find('\n', from), text.size());
    lines.emplace_back(text.substr(from, to - from));
    from = to + 1;
  }
  return lines;
}

std::vector<std::string> paragraphs(std::string_view text) {
  std::vector<std::string> found;
  bool is_open = false;
  for (const std::string& line : lines_of(text)) {
    if (line.empty()) {
      is_open = false;
    } else if (is_open) {
      found.back() += " " + line;
    } else {
      found.push_back(line);
      is_open = true;
    }
  }
  return found;
}

std::string wrap(std::string_view text, std::size_t width, std::size_t indent) {
  std::string wrapped;
  std::size_t column = indent;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t to = std::min(text.find(' ', from), text.size());
    const std::string_view word = text.substr(from, to - from);
    from = to + 1;
    if (word.empty()) continue;
    const std::size_t word_width = display_width(word);
    if (wrapped.empty()) {
      wrapped = word;
    } else if (column + 1 + word_width > width) {
      wrapped += "\n" + std::string(indent, ' ') + std::string(word);
      column = indent;
    } else {
      wrapped += " " + std::string(word);
      ++column;
    }
    column += word_width;
  }
  return wrapped;
}

std::vector<Definition> read_definitions(std::string_view lines) {
  std::vector<Definition> found;
  for (const std::string& line : lines_of(lines)) {
    const std::size_t blank = std::min(line.find(' '), line.size());
    const std::size_t meaning = std::min(line.find_first_not_of(' ', blank), line.size());
    found.push_back({line.substr(0, blank), line.substr(meaning)});
  }
  return found;
}

std::string render(const std::vector<Definition>& definitions, std::size_t width,
                   std::size_t column) {
  constexpr std::size_t kMargin = 2;
  std::string text;
  for (const Definition& each : definitions) {
    const std::size_t used = kMargin + display_width(each.term);
    text += std::string(kMargin, ' ') + each.term;
    if (!each.meaning.empty()) {
      text += used + 2 > column ? "\n" + std::string(column, ' ') : std::string(column - used, ' ');
      text += wrap(each.meaning, width, column);
    }
    text += "\n";
  }
  return text;
}

}  // namespace strata::inline v0_1::tools
