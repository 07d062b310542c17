// Walks the pages of a range: what is mapped, in pages of which size, on which nodes.
//   Threads:  any; the range must stay mapped.
//   Errors:   of the kernel calls, where it does not answer.
//   Cost:     see numa/page_report.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "strata/base/result.h"

namespace strata::inline v0_1 {

class Os;

inline constexpr std::size_t kPagesPerCall = 16384;  // of move_pages

// Pages side by side, to ask about in steps of their size.
struct Stretch {
  std::byte* start;
  std::uint64_t bytes;
  std::uint64_t step_bytes;
};

struct MappedStretches {
  std::vector<Stretch> stretches;
  std::uint64_t huge_bytes = 0;
  bool is_exact = false;  // the stretches are present; else some of their pages may be absent
};

// Maps into this process what exists of the range and is not mapped yet, makes nothing that
// does not exist, and tells what is there.
Result<MappedStretches> map_and_look(Os& os, std::span<std::byte> range);

// Called for each page that is present: its start, its bytes, its node.
using PageVisitor = std::function<void(std::byte* page, std::uint64_t bytes, int node)>;
Result<void> ask_nodes(Os& os, const Stretch& stretch, const PageVisitor& visit);

}  // namespace strata::inline v0_1
