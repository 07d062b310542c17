// The commands that tell of the command line itself.
#pragma once

#include <string>
#include <vector>

#include "tools/command/command.h"

namespace strata::inline v0_1::tools {

void add_help(Commands& commands);
void add_completion(Commands& commands);
void add_man(Commands& commands);

// `strata __complete …`, for the scripts of `strata completion`. Prints what can be typed next, and
// nothing else: no error, and no waiting for what does not answer.
ExitCode answer_completion(Context& context, const CommandNode& root,
                           const std::vector<std::string>& arguments);

// The command that the words name. Errors: invalid_argument, with what was probably meant.
Result<const CommandNode*> find_command(const CommandNode& root,
                                        const std::vector<std::string>& words);

}  // namespace strata::inline v0_1::tools
