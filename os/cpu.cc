#include "os/cpu.h"

#include <sched.h>

namespace strata {

int current_node() {
  unsigned cpu = 0, node = 0;
  return getcpu(&cpu, &node) == 0 ? static_cast<int>(node) : 0;
}

}  // namespace strata
