// What lies in a pool's heap beside its segments: the typed root (Pool::make_user_root), what a
// program made with make_persistent or with libpmemobj itself, and objects of segments that no
// entry of the directory names. Operations that copy segment by segment would lose it.
//   Threads:  any.
//   Errors:   look_for_other_objects: timed_out while another process holds the pool; corrupt where
//             libpmemobj cannot walk the heap; as run_apart() where nobody could look, and
//             failed_precondition where the walk came to no end. require_none:
//             failed_precondition.
//   Cost:     a walk over all objects; in a child about 10 ms more.
//   Persists: nothing: the child looks at a private copy.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "os/os.h"
#include "pmem/object_pool.h"
#include "strata/base/result.h"

namespace strata::inline v0_1 {

class DirectoryChange;

struct OtherObjects {
  struct Kind {
    std::uint64_t type = 0;  // libpmemobj's type number
    std::uint64_t count = 0;
    std::uint64_t bytes = 0;
  };
  std::vector<Kind> kinds;  // by type number

  bool empty() const { return kinds.empty(); }
  std::uint64_t count() const;
  std::uint64_t bytes() const;
  // "3 objects that are no segments (1 of type 21333, the typed root; 2 of type 0), 8.1 KiB"
  std::string describe() const;
};

// Those of `objects` that are not at one of the offsets `named`.
OtherObjects other_objects(const std::vector<ObjectPool::Object>& objects,
                           const std::set<std::uint64_t>& named);

// Of a pool that is held, and has been rehearsed.
OtherObjects other_objects(const DirectoryChange& held);

// Of any pool that nobody holds: a child walks the heap, and may die of it.
Result<OtherObjects> look_for_other_objects(Os& os, const std::string& path,
                                            const std::set<std::uint64_t>& named);

// For what copies nothing but segments. `what` is the copy: "a backup".
Result<void> require_none(const OtherObjects& others, const std::string& what);

}  // namespace strata::inline v0_1
