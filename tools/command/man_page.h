// The manual page of a command, in the man macros of troff; made from what its help is made from.
//   Threads:  functions of values.
//   Errors:   none.
//   Source:   man(7), groff_man(7); checked by `groff -man -ww`.
#pragma once

#include <string>

#include "tools/command/command_tree.h"

namespace strata::inline v0_1::tools {

// "strata-pool-check.1"
std::string man_page_file(const CommandNode& node);

// `version` stands in the footer. The page has no date: the same program gives the same bytes.
std::string man_page(const CommandNode& node, const std::string& version);

// All pages that there are: of the node and of what is below it, but for what is hidden.
std::vector<const CommandNode*> commands_with_pages(const CommandNode& node);

}  // namespace strata::inline v0_1::tools
