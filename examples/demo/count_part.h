// Part one: processes count the words of shared texts, one of them dies, nobody copies.
#pragma once

#include <string>
#include <vector>

#include "examples/demo/story.h"
#include "strata.h"

namespace demo {

struct DemoOptions {
  std::vector<std::string> files;
  std::size_t workers = 4;
  std::string prefix;  // of all segments of this run: "shm:strata-demo-4711"
};

strata::Result<void> count_words(Story& story, strata::Catalog& catalog, strata::Os& os,
                                 const DemoOptions& options);

}  // namespace demo
