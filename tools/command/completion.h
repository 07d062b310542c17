// What can be typed next: asked for by the scripts that `strata completion SHELL` prints.
//   Threads:  functions of values.
//   Errors:   none; what makes no sense has no completions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/command/command_tree.h"

namespace strata::inline v0_1::tools {

struct Candidate {
  std::string text;  // the whole word
  std::string help;  // empty, or one line
};

struct Completion {
  // What begins with the word as it is so far.
  std::vector<Candidate> candidates;
  // More than the command line knows of can stand here; `typed` is what of it is there already, and
  // `before` stands in front of it in the same word: "--pool=".
  enum class Wants { nothing, files, segments } wants = Wants::nothing;
  std::string before;
  std::string typed;
};

// Of the words after the program's name; the last one, which may be empty, is still being typed.
Completion complete(const CommandNode& root, const std::vector<std::string>& words);

// The words of a command line as a POSIX shell reads them, quotes taken away. Expansions are not
// done. The last one is what is being typed, and empty where the line ends between words.
struct ShellLine {
  std::vector<std::string> words;
  bool is_quoted = false;  // the last word is within quotes that are still open
};
ShellLine split_shell_line(std::string_view line);

// How much of a word bash does not replace: up to the last ':' or '=' that its COMP_WORDBREAKS
// breaks words at.
std::size_t kept_by_bash(std::string_view typed, std::string_view word_breaks);

// The script for "bash", "zsh" or "fish"; empty for another name.
std::string_view completion_script(std::string_view shell);

}  // namespace strata::inline v0_1::tools
