// What libpmemobj makes of a pool: its header, its heap, and a change of it.
//   Errors:   none; what is wrong, or could not be looked at, is in the report.
//   Cost:     three children, each of which opens the copy.
//   Persists: nothing; the copy may be recovered.
#pragma once

#include <cstdint>
#include <map>

#include "pmem/pool_check.h"
#include "pmem/pool_copy.h"

namespace strata::inline v0_1 {

struct HeapObjects {
  struct Facts {
    std::uint64_t bytes;
    std::uint64_t type;
  };
  std::map<std::uint64_t, Facts> by_offset;
  bool is_complete = false;  // false: the heap could not be walked
};

HeapObjects check_libpmemobj(Os& os, PoolCopy& copy, const CheckOptions& options,
                             CheckReport& report);

// Every object that the directory names must be in the heap, once, and no segment besides.
void check_objects(const DirectoryCopy& directory, const HeapObjects& heap, CheckReport& report);

void add_item(CheckReport& report, std::string what, CheckOutcome outcome, std::string detail);

}  // namespace strata::inline v0_1
