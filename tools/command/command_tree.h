// What the command line consists of, as plain data. Help, man pages, completion and suggestions are
// made from it, so that each name and each sentence is written once.
//   Threads:  a value that is built before main work begins; const members any.
//   Errors:   none.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace strata::inline v0_1::tools {

// A word or an option of a command.
struct Parameter {
  std::string name = {};        // "--size"; of a word "URI"
  std::string short_name = {};  // "-h", or empty
  std::string value = {};       // what stands for the value of an option: "SIZE"; a flag has none
  std::string help = {};        // one sentence, without a capital and a full stop
  std::string shown_default = {};   // empty: none is shown
  std::string alternative_of = {};  // a title: at most one of those that share it may be given
  std::vector<std::string> choices = {};
  bool is_word = false;
  bool is_required = false;
  bool is_repeated = false;
  bool is_common = false;  // every command has it
};

// What a command says of itself.
struct CommandText {
  std::string name = {};
  // For lists, and the NAME of a man page: one line, no full stop.
  std::string summary = {};
  // Paragraphs with an empty line between them; wrapped when they are shown.
  std::string description = {};
  // Lines as they are typed, with "    # …" behind them where that helps.
  std::string examples = {};
  // Of a command whose exit status says more than the table of all commands: "0  sound", a line
  // each.
  std::string exit_status = {};
  // "NO_COLOR  no colours", a line each.
  std::string environment = {};
  // What people who know other programs type instead.
  std::vector<std::string> other_names = {};
  // Left out of lists, completion and man pages.
  bool is_hidden = false;
};

struct CommandNode {
  CommandText text;
  std::string section;  // the heading under which it stands
  std::vector<Parameter> parameters;
  std::vector<std::unique_ptr<CommandNode>> commands;
  const CommandNode* parent = nullptr;

  bool is_group() const { return !commands.empty(); }
  // "strata pool check", or with another separator "strata-pool-check".
  std::string path(std::string_view separator = " ") const;
  // Null where there is none of that name.
  const CommandNode* find(std::string_view name) const;
  const Parameter* find_option(std::string_view name) const;
  // "strata create URI --size SIZE [OPTIONS]"
  std::string usage() const;
};

// What the exit status of every command means, a line each.
extern const std::string_view kExitStatusText;

// How far a command line leads, whether or not it means anything.
struct Walk {
  const CommandNode* node = nullptr;    // the command that it names
  std::vector<std::string> words = {};  // beside the names of commands
  std::vector<const Parameter*> options = {};
  std::optional<std::string> unknown_command = {};
  std::vector<std::string> unknown_options = {};
  const Parameter* needs_value = nullptr;  // the last word is an option without its value
  bool only_words = false;                 // after "--"
};
Walk walk(const CommandNode& root, const std::vector<std::string>& arguments);

}  // namespace strata::inline v0_1::tools
