// The heap in a segment, as the commands look at it: without changing anything.
//   Errors:   not_found where the segment holds none; as Heap::open.
#pragma once

#include <string>
#include <vector>

#include "strata/heap/heap.h"
#include "strata/sync/robust_mutex.h"

namespace strata::inline v0_1::tools {

// A payload that begins otherwise is no heap, whatever else it is.
bool has_heap(const Segment& segment);
Result<Heap> open_heap(Segment& segment);

struct NamedLock {
  std::string name;
  LockReport report;
  bool is_intact;  // false: a word that no lock operation makes
};

// Objects of the type RobustMutex; other objects may hold locks that nobody can tell from data.
Result<std::vector<NamedLock>> named_locks(const Heap& heap);

}  // namespace strata::inline v0_1::tools
