// libpmemobj trusts its own heap, and aborts or crashes where that is damaged. So a process lets
// it rehearse before the first change to each pool: in a child, on a private copy of the bytes.
//   Threads:  any.
//   Errors:   corrupt where the child died of it; nothing else: what the rehearsal cannot tell
//             (the pool is held by somebody, say) the change itself will.
//   Cost:     a fork and an open, about 10 ms, once for each pool in a process; nothing for a
//             pool that the process has made itself.
// It walks all objects, and takes and gives back memory of each kind that a directory uses. Damage
// that only another change would meet can still stop the process in that one.
#pragma once

#include <string>

#include "base/result.h"
#include "os/os.h"

namespace strata {

// Each time.
Result<void> rehearse_change(Os& os, const std::string& path, const std::string& layout);
// The first time for the file that `path` names now.
Result<void> rehearse_first_change(Os& os, const std::string& path, const std::string& layout);
// Of a pool that this process has just made: it need not be rehearsed.
void trust_new_pool(Os& os, const std::string& path);

}  // namespace strata
