// What `strata help COMMAND` and `strata COMMAND --help` show.
//   Threads:  functions of values.
//   Errors:   none.
#pragma once

#include <string>

#include "tools/command/command_tree.h"
#include "tools/terminal/output.h"

namespace strata::inline v0_1::tools {

// "strata help ls"
std::string help_command(const CommandNode& node);

std::string help_text(const CommandNode& node, const Painter& painter);
// `command`, `usage`, `summary`, `description`, `words`, `options`, `examples`, `commands`.
Json help_json(const CommandNode& node);

// Commands that are shown, by the headings under which they stand, in their order.
struct Section {
  std::string title;
  std::vector<const CommandNode*> commands;
};
std::vector<Section> sections_of(const CommandNode& group);

// Options by what at most one may be given of. Those that stand alone come first, without a title;
// what every command has is last among them.
struct OptionGroup {
  std::string title;
  std::vector<const Parameter*> options;
};
std::vector<OptionGroup> option_groups(const CommandNode& node);

// "--tier bandwidth|latency|capacity", "-h, --help", "URI..."
std::string spelling(const Parameter& parameter);
// Its help, whether it must be given, and its default.
std::string meaning(const Parameter& parameter);

}  // namespace strata::inline v0_1::tools
