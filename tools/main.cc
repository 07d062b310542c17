// The `strata` command.
#include "tools/gpu/gpu_commands.h"
#include "tools/machine/machine_commands.h"
#include "tools/pool/pool_commands.h"
#include "tools/segment/segment_commands.h"

namespace {

void add_all(strata::tools::Commands& commands) {
  using namespace strata::tools;
  commands.section("Make and fill");
  add_create(commands);
  add_put(commands);
  add_cat(commands);
  add_grow(commands);
  add_seal(commands);
  add_verify(commands);
  add_migrate(commands);
  commands.section("Look");
  add_ls(commands);
  add_info(commands);
  add_map(commands);
  add_objects(commands);
  add_heap(commands);
  add_locks(commands);
  add_top(commands);
  add_check(commands);
  commands.section("Pools");
  add_pool(commands);
  commands.section("GPUs");
  add_gpu(commands);
  commands.section("Clean up");
  add_rm(commands);
  add_gc(commands);
  commands.section("This machine");
  add_doctor(commands);
  add_topology(commands);
  add_plan(commands);
}

}  // namespace

int main(int argc, char** argv) { return strata::tools::run(argc, argv, add_all); }
