#include "os/fence.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace strata::inline v0_1 {
namespace {

bool membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0) == 0; }

}  // namespace

bool answer_fences() { return membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED); }

bool fence_others() { return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED); }

}  // namespace strata::inline v0_1
