// "did you mean …?": what was probably meant by a word that is none of those that are known.
//   Threads:  functions of values.
//   Errors:   none; where nothing is near, nothing is suggested.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "tools/command/command_tree.h"

namespace strata::inline v0_1::tools {

// The least number of letters to insert, leave out, replace or swap with their neighbour, each at
// most once (optimal string alignment).
//   Source:   Boytsov, "Indexing methods for approximate dictionary searching", 2011.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The nearest of `known`, if near enough to be a slip of the fingers, in their order; also those of
// which `typed` is the beginning. At most three.
std::vector<std::string> suggestions(std::string_view typed, const std::vector<std::string>& known);

// ": did you mean `ls`?", ": did you mean `a` or `b`?", or nothing.
std::string did_you_mean(const std::vector<std::string>& suggestions);

// For a word that is no command of `group`: near names, what other programs call them, and commands
// of that name in another group.
std::vector<std::string> suggest_command(const CommandNode& group, const std::string& typed);
std::vector<std::string> suggest_option(const CommandNode& command, const std::string& typed);

}  // namespace strata::inline v0_1::tools
