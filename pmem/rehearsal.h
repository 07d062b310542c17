// libpmemobj trusts its own heap and logs, and aborts, crashes or spins where they are damaged. So
// a process lets it rehearse before the first change to each pool: in a child, on a private copy of
// the bytes (copy-on-write), all that changes do: recover, allocate from each kind of room, write,
// commit, free, abort, close. Nothing of it reaches the file. Where a killed process had left an
// extended undo log, the recovery is rehearsed and then done, and the change rehearsed after it.
//   Threads:  any.
//   Errors:   no rehearsal, no change. corrupt where libpmemobj refused the pool, or the child died
//             of it; failed_precondition where it computed without end; timed_out where another
//             process held the pool up to the deadline; exhausted, and what else run_apart reports,
//             where there can be no child. All but corrupt leave open whether the pool is sound.
//   Cost:     a fork, an open and some changes, about 15 ms, once for each pool in a process;
//             nothing for a pool that the process has made itself.
// A pool is trusted from then on, and rehearsed again where its file is another one, has another
// size, is of another pool, or has gone back to fewer changes: it was replaced, or overwritten in
// place. Damage that comes between two changes of one process is not seen, nor is damage that only
// threads of a program of its own types meet (see strata/pmem/persistent.h): each thread has other
// logs.
#pragma once

#include <string>

#include "os/os.h"
#include "strata/base/result.h"
#include "strata/os/deadline.h"

namespace strata::inline v0_1 {

// Each time: for checks, and before a recovery. Waits for the pool's lock until `deadline`.
Result<void> rehearse_change(Os& os, const std::string& path, const std::string& layout,
                             Deadline deadline = Deadline::after_ms(0));
// The first time for the file that `path` names now.
Result<void> rehearse_first_change(Os& os, const std::string& path, const std::string& layout,
                                   Deadline deadline);
// Of a pool that this process has just made: it need not be rehearsed.
void trust_new_pool(Os& os, const std::string& path);

}  // namespace strata::inline v0_1
