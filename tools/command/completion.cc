#include "tools/command/completion.h"

#include <algorithm>

#include "tools/command/help.h"

namespace strata::inline v0_1::tools {
namespace {

using Wants = Completion::Wants;

// By the names that the commands use for what stands there.
Wants wanted_for(std::string_view name) {
  if (name == "URI" || name == "PATTERN") return Wants::segments;
  for (const char* const file : {"FILE", "PATH", "TO", "FOLDER", "FILE|SYNTHETIC"})
    if (name == file) return Wants::files;
  return Wants::nothing;
}

void add_if_begun(Completion& completion, const std::string& text, const std::string& help) {
  if (text.starts_with(completion.before + completion.typed))
    completion.candidates.push_back({text, help});
}

void complete_value(Completion& completion, const Parameter& parameter) {
  for (const std::string& choice : parameter.choices)
    add_if_begun(completion, completion.before + choice, "");
  completion.wants = wanted_for(parameter.is_word ? parameter.name : parameter.value);
}

void complete_command(Completion& completion, const CommandNode& group) {
  for (const auto& each : group.commands)
    if (!each->text.is_hidden) add_if_begun(completion, each->text.name, each->text.summary);
}

void complete_option(Completion& completion, const Walk& line) {
  for (const Parameter& each : line.node->parameters) {
    const bool is_given =
        std::find(line.options.begin(), line.options.end(), &each) != line.options.end();
    if (!each.is_word && (!is_given || each.is_repeated))
      add_if_begun(completion, each.name, meaning(each));
  }
}

void complete_word(Completion& completion, const CommandNode& root, const Walk& line) {
  // The words of these are commands.
  if (line.node == root.find("help") || line.node == root.find("man")) {
    const Walk named = walk(root, line.words);
    if (!named.unknown_command && named.node->is_group()) complete_command(completion, *named.node);
    return;
  }
  std::size_t left = line.words.size();
  for (const Parameter& each : line.node->parameters) {
    if (!each.is_word) continue;
    if (left == 0 || each.is_repeated) return complete_value(completion, each);
    --left;
  }
}

}  // namespace

Completion complete(const CommandNode& root, const std::vector<std::string>& words) {
  Completion completion;
  if (words.empty()) return completion;
  completion.typed = words.back();
  const Walk line = walk(root, {words.begin(), words.end() - 1});
  if (line.unknown_command) return completion;
  const std::string& typed = words.back();
  if (line.needs_value != nullptr) {
    complete_value(completion, *line.needs_value);
  } else if (!line.only_words && typed.starts_with('-')) {
    const std::size_t equals = typed.find('=');
    if (equals == std::string::npos) {
      complete_option(completion, line);
    } else if (const Parameter* const option = line.node->find_option(typed.substr(0, equals))) {
      completion.before = typed.substr(0, equals + 1);
      completion.typed = typed.substr(equals + 1);
      complete_value(completion, *option);
    }
  } else if (line.node->is_group()) {
    complete_command(completion, *line.node);
  } else {
    complete_word(completion, root, line);
  }
  return completion;
}

ShellLine split_shell_line(std::string_view line) {
  ShellLine read;
  std::string word;
  bool is_word = false;
  char quote = '\0';
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote == '\0' && (c == ' ' || c == '\t' || c == '\n')) {
      if (is_word) read.words.push_back(std::exchange(word, {}));
      is_word = false;
      continue;
    }
    is_word = true;
    if (c == quote) {
      quote = '\0';
    } else if (quote == '\0' && (c == '\'' || c == '"')) {
      quote = c;
    } else if (c == '\\' && quote != '\'' && i + 1 < line.size()) {
      word += line[++i];
    } else {
      word += c;
    }
  }
  read.words.push_back(word);
  read.is_quoted = quote != '\0';
  return read;
}

std::size_t kept_by_bash(std::string_view typed, std::string_view word_breaks) {
  std::string breaks;
  for (const char c : {':', '='})
    if (word_breaks.find(c) != std::string_view::npos) breaks += c;
  const std::size_t last = typed.find_last_of(breaks);
  return last == std::string_view::npos ? 0 : last + 1;
}

}  // namespace strata::inline v0_1::tools
