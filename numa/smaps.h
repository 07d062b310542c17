// /proc/self/smaps: how large the pages really are that a range is mapped with.
//   Errors:   as Os::read_file.
//   Cost:     the kernel writes about 700 bytes for each mapping of this process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "strata/base/result.h"

namespace strata::inline v0_1 {

class Os;

// The part of one kernel mapping that lies in the range asked about.
struct MappedArea {
  std::uintptr_t start = 0;
  std::uintptr_t end = 0;
  std::uint64_t page_bytes = 4096;  // of the mapping: above 4 KiB for hugetlb
  // Mapped by 2 MiB entries. Of a mapping that reaches beyond the range the kernel tells only
  // the whole, so that this is then the most that it can be.
  std::uint64_t pmd_bytes = 0;

  std::uint64_t bytes() const { return end - start; }
  bool is_all_huge() const { return pmd_bytes >= bytes(); }
};

Result<std::vector<MappedArea>> mapped_areas(Os& os, std::span<const std::byte> range);

}  // namespace strata::inline v0_1
