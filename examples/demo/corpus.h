// Texts in a sealed segment: a directory of where each begins, then their bytes.
//   Threads:  any; the segment never changes once it is sealed.
//   Lifetime: views end with the Segment.
//   Errors:   as the library's; corrupt where the directory does not fit the segment.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "strata/strata.h"

namespace demo {

// Reads the files into a new segment of that name and seals it.
strata::Result<void> load_corpus(strata::Catalog& catalog, strata::Os& os, const std::string& uri,
                                 const std::vector<std::string>& files);

// The texts, straight from the segment's memory.
strata::Result<std::vector<std::string_view>> texts_of(const strata::Segment& segment);

}  // namespace demo
