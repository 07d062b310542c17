// The subcommands of `strata gpu`, in files by what they are for.
#pragma once

#include "tools/command/command.h"

namespace strata::inline v0_1::tools {

void add_gpu(Commands& commands);

void add_gpu_looking(Commands& gpu);  // ls, info, explain
void add_gpu_hold(Commands& gpu);
void add_gpu_bench(Commands& gpu);

}  // namespace strata::inline v0_1::tools
