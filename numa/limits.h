// Whether so much memory can be committed, asked before it is: afterwards the answer would be
// SIGBUS (a full tmpfs or hugetlb pool) or the out-of-memory killer (a cgroup, the machine).
//   Threads:  any.
//   Errors:   exhausted with the limit that is in the way, its free bytes and a remedy.
//   Cost:     a statfs; from 2 MiB on also a few small files of /proc and the cgroup, 50 µs.
// What another process takes between the question and the touch is not covered: commit()
// reports that case from the kernel's own answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "strata/base/result.h"
#include "strata/segment/options.h"

namespace strata::inline v0_1 {

class Os;

struct MemoryLimit {
  std::string what;  // "the tmpfs behind the segment", "the memory of this machine"
  std::uint64_t limit_bytes = 0;
  std::uint64_t free_bytes = 0;
  std::string remedy;
};

// Every limit that memory behind `fd` (or anonymous memory, -1) runs into; those that do not
// exist or cannot be read are left out.
std::vector<MemoryLimit> memory_limits(Os& os, int fd, PageSize page_size);

// Errors: exhausted where `needed_bytes` are over one of them.
Result<void> check_room(Os& os, int fd, std::uint64_t needed_bytes, PageSize page_size);

// "node 0: 12 GiB free of 16 GiB, node 1: … (not allowed)", for messages; empty where sysfs does
// not tell.
std::string free_bytes_per_node(Os& os);

}  // namespace strata::inline v0_1
