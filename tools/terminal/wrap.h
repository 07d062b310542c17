// Sentences broken into lines of a given width, for help.
//   Threads:  functions of values.
//   Errors:   none; a word that is longer than a line has one of its own.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace strata::inline v0_1::tools {

// What stands between empty lines, each as one piece of text without line ends.
std::vector<std::string> paragraphs(std::string_view text);
// The lines of a text, without their ends; none for an empty text.
std::vector<std::string> lines_of(std::string_view text);

// Lines of at most `width` columns, all but the first after `indent` blanks; no line end at the
// end.
std::string wrap(std::string_view text, std::size_t width, std::size_t indent = 0);

// A term and what it means: of a line such as "0  done" what stands before and after the blanks.
struct Definition {
  std::string term;
  std::string meaning;
};
std::vector<Definition> read_definitions(std::string_view lines);

// Each at a margin of two blanks, what it means from `column` on; a term that reaches it has a line
// of its own.
std::string render(const std::vector<Definition>& definitions, std::size_t width,
                   std::size_t column);

}  // namespace strata::inline v0_1::tools
