#include "tools/command/command_tree.h"

#include <algorithm>

namespace strata::inline v0_1::tools {

const std::string_view kExitStatusText =
    "0  done\n"
    "1  failed: it was tried and did not work, or what was looked at is not in order\n"
    "2  usage: the command line cannot mean anything\n"
    "3  not found: nothing of that name\n"
    "4  refused: in use, in the wrong state, or not yours\n"
    "5  unknown: some part could not be looked at, and nothing that was is wrong";

std::string CommandNode::path(std::string_view separator) const {
  if (parent == nullptr) return text.name;
  return parent->path(separator) + std::string(separator) + text.name;
}

const CommandNode* CommandNode::find(std::string_view name) const {
  const auto found = std::find_if(commands.begin(), commands.end(),
                                  [&](const auto& each) { return each->text.name == name; });
  return found == commands.end() ? nullptr : found->get();
}

const Parameter* CommandNode::find_option(std::string_view name) const {
  const auto found = std::find_if(parameters.begin(), parameters.end(), [&](const Parameter& each) {
    return !each.is_word &&
           (each.name == name || (!each.short_name.empty() && each.short_name == name));
  });
  return found == parameters.end() ? nullptr : &*found;
}

std::string CommandNode::usage() const {
  std::string line = path();
  if (is_group()) return line + " COMMAND [OPTIONS]";
  for (const Parameter& each : parameters) {
    if (!each.is_word) continue;
    const std::string word = each.name + (each.is_repeated ? "..." : "");
    line += each.is_required ? " " + word : " [" + word + "]";
  }
  for (const Parameter& each : parameters)
    if (!each.is_word && each.is_required) line += " " + each.name + " " + each.value;
  return line + " [OPTIONS]";
}

Walk walk(const CommandNode& root, const std::vector<std::string>& arguments) {
  Walk state{.node = &root};
  for (const std::string& argument : arguments) {
    if (state.needs_value != nullptr) {
      state.needs_value = nullptr;
    } else if (!state.only_words && argument == "--") {
      state.only_words = true;
    } else if (!state.only_words && argument.size() > 1 && argument[0] == '-') {
      const std::size_t equals = argument.find('=');
      const Parameter* const option = state.node->find_option(argument.substr(0, equals));
      if (option == nullptr) {
        state.unknown_options.push_back(argument.substr(0, equals));
        continue;
      }
      state.options.push_back(option);
      if (!option->value.empty() && equals == std::string::npos) state.needs_value = option;
    } else if (state.node->is_group()) {
      const CommandNode* const next = state.node->find(argument);
      if (next == nullptr) {
        state.unknown_command = argument;
        return state;
      }
      state.node = next;
    } else {
      state.words.push_back(argument);
    }
  }
  return state;
}

}  // namespace strata::inline v0_1::tools
