// Hugetlb pages that other processes made. The kernel tells a process nothing of these before it
// has mapped them itself: mincore(2) looks into its own page table only, lseek(2) knows no holes
// on hugetlbfs, and reading one that does not exist would make it.
//   Threads:  any; the range must stay mapped.
//   Errors:   none: what cannot be found out is left as it is.
//   Cost:     a read of /proc/self/maps, and for each hugetlb file in the range a stat.
#pragma once

#include <cstddef>
#include <span>

namespace strata::inline v0_1 {

class Os;

// Maps what exists of the hugetlb files in the range, and makes nothing. Only of a file that has
// all its pages it is known which exist: others stay as they are. True where it mapped anything.
bool map_whole_hugetlb_files(Os& os, std::span<std::byte> range);

}  // namespace strata::inline v0_1
