// A program with planted bugs, to prove that the verification of placements finds them.
//
// usage: misplaced none|missing_bind|wrong_node
//
// It promises memory on node 1 and runs on node 0. Exit status: 0 every page is where it was
// promised, 1 the verification says otherwise, 2 the program could not do its work.
#include <cstdio>
#include <cstring>

#include "tests/vm/guest_memory.h"
#include "tests/vm/pages.h"

int main(int argc, char** argv) {
  constexpr int kPromisedNode = 1;
  if (argc != 2) return 2;
  const bool binds = std::strcmp(argv[1], "missing_bind") != 0;
  const int node = std::strcmp(argv[1], "wrong_node") == 0 ? 2 : kPromisedNode;
  strata::test::GuestMemory memory(strata::test::MemorySort::kTmpfs, 1u << 20);
  if (!memory.valid() || !strata::test::run_on_node(0)) return 2;
  if (binds && !memory.bind_to(node)) return 2;
  memory.touch();
  return strata::test::all_pages_on(kPromisedNode, memory.start(), memory.bytes()) ? 0 : 1;
}
