// Acts on a mapped range: bind its pages to nodes, commit them, move them.
//   Threads:  any; one at a time for one range.
//   Errors:   exhausted with the limit, the free bytes per node and a remedy: never SIGBUS.
//             permission_denied or unsupported where the kernel refuses memory policies (a
//             seccomp filter, gVisor) and the plan is strict; else this becomes a note.
//   Persists: on shared memory (tmpfs, memfd, hugetlbfs) the policy belongs to the object, not
//             to the mapping: pages that another process touches later follow it too, until the
//             last descriptor is closed. migrate() changes it for everybody.
// The order is: make_plan, bind_pages, commit, report, verify; place() does all but the first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "numa/page_report.h"
#include "numa/plan.h"
#include "strata/base/result.h"
#include "strata/segment/options.h"

namespace strata::inline v0_1 {

class Os;

using Notes = std::vector<std::string>;

struct CommitOptions {
  int fd = -1;                        // behind the range, for its limits; -1: anonymous memory
  std::uint64_t fd_offset_bytes = 0;  // of the range in it
  unsigned threads = 0;  // 0: one for each processor that this process may use, up to 16
};

// Sets the memory policy of a range whose pages do not exist yet. Returns what could not be
// done as asked; a strict plan fails instead.
Result<Notes> bind_pages(Os& os, std::span<std::byte> range, const Plan& plan);

// The kernel's answer to setting the policy, without the leniency of bind_pages().
Result<void> set_policy(Os& os, std::span<std::byte> range, const Plan& plan);

// Makes every page of `range` exist, zero filled where new, from threads near to its node and
// in pages of plan.page_size. Pages that exist keep their content.
// For 2 MiB pages both the address and the offset in the file must be multiples of 2 MiB.
Result<Notes> commit(Os& os, std::span<std::byte> range, const Plan& plan,
                     const CommitOptions& options = {});

// Maps pages that exist already into this process, all at once, for those who will touch all of
// them. On tmpfs and hugetlb the first write does not fault either.
Result<void> fault_in(Os& os, std::span<std::byte> range, unsigned threads = 0);

// bind_pages, commit, report and verify.
Result<PlacementReport> place(Os& os, std::span<std::byte> range, const Plan& plan,
                              const CommitOptions& options = {});

// Moves the pages of a live range to where `plan` wants them and leaves the policy for later
// ones. Contents stay, and other processes may go on using them meanwhile. Pages that others
// have mapped move only with CAP_SYS_NICE.
// Errors: failed_precondition with the numbers and the kernel's reasons where some pages stayed
// behind, or where a strict plan was not met; the range is then usable as before, with the others
// moved.
Result<PlacementReport> migrate(Os& os, std::span<std::byte> range, const Plan& plan);

}  // namespace strata::inline v0_1
