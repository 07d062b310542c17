// The commands that make, fill, show and remove segments: one line here, one in main.cc, one
// cmd_*.cc.
#pragma once

#include "tools/command/command.h"

namespace strata::inline v0_1::tools {

void add_create(Commands& commands);
void add_put(Commands& commands);
void add_cat(Commands& commands);
void add_grow(Commands& commands);
void add_seal(Commands& commands);
void add_verify(Commands& commands);
void add_migrate(Commands& commands);
void add_ls(Commands& commands);
void add_info(Commands& commands);
void add_map(Commands& commands);
void add_objects(Commands& commands);
void add_heap(Commands& commands);
void add_locks(Commands& commands);
void add_top(Commands& commands);
void add_check(Commands& commands);
void add_rm(Commands& commands);
void add_gc(Commands& commands);

}  // namespace strata::inline v0_1::tools
