// The commands that tell of this machine, and not of a segment.
#pragma once

#include "tools/command/command.h"

namespace strata::inline v0_1::tools {

void add_doctor(Commands& commands);
void add_topology(Commands& commands);
void add_plan(Commands& commands);
void add_version(Commands& commands);

}  // namespace strata::inline v0_1::tools
