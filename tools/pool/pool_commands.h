// The subcommands of `strata pool`, in files by what they are for.
#pragma once

#include "tools/command/command.h"

namespace strata::inline v0_1::tools {

void add_pool(Commands& commands);

void add_pool_looking(Commands& pool);    // info, ls, check, repair
void add_pool_dump(Commands& pool);       // dump
void add_pool_making(Commands& pool);     // create, grow, rm, snapshot, rollback
void add_pool_transfers(Commands& pool);  // import, export, backup, restore, checkpoint

}  // namespace strata::inline v0_1::tools
