#include "strata/os/cpu.h"

#include <sched.h>

namespace strata::inline v0_1 {

int current_node() {
  unsigned cpu = 0, node = 0;
  return getcpu(&cpu, &node) == 0 ? static_cast<int>(node) : 0;
}

}  // namespace strata::inline v0_1
