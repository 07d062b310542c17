// The `strata` command.
#include "strata/version.h"
#include "tools/command/help_commands.h"
#include "tools/gpu/gpu_commands.h"
#include "tools/machine/machine_commands.h"
#include "tools/pool/pool_commands.h"
#include "tools/segment/segment_commands.h"

namespace {

using namespace strata::tools;

void add_all(Commands& commands) {
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
  commands.section("This command");
  add_help(commands);
  add_version(commands);
  add_completion(commands);
  add_man(commands);
}

CommandText program() {
  return {
      .name = "strata",
      .summary = "memory that processes share: named, placed, verified, and cleaned up",
      .description =
          "A segment is a piece of memory with a name. Any process attaches it by that name: "
          "shm:NAME is shared memory on the memory node where it belongs, pmem:PATH#NAME is in a "
          "pool, a file that survives restarts, and cuda:NAME is memory of a GPU.\n\n"
          "--json means the same wherever it stands: one JSON document on standard output instead "
          "of text. Errors go to standard error in both cases.",
      .examples =
          "strata create shm:mesh --size 64M\n"
          "strata put mesh.bin shm:mesh2 && strata ls\n"
          "strata help create",
      .exit_status = std::string(kExitStatusText),
      .environment =
          "NO_COLOR  where it is set, and not empty, nothing is coloured\n"
          "TMPDIR  where `strata put` and `strata pool import` keep what comes from a pipe "
          "(default /tmp)\n"
          "XDG_STATE_HOME  below it is written down which pools you have used (default "
          "~/.local/state)"};
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv, program(), STRATA_VERSION_STRING, add_all);
}
