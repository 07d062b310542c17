// The parts of make_golden, which see.
#pragma once

#include <string>

#include "strata/strata.h"

namespace strata::inline v0_1::golden {

// A copy of the file of a shared segment, as it is now.
void keep_segment(const std::string& name, const std::string& to);

void make_sync_file(Catalog& catalog, const std::string& folder);

// Makes the segment and its heap. Unfinished: with the two transactions of golden_heap.h left
// as the death of their processes left them.
enum class Ending { closed, unfinished };
void make_heap(Catalog& catalog, const std::string& uri, Ending ending);

}  // namespace strata::inline v0_1::golden
