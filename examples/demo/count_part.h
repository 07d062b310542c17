// Part one: processes count the words of shared texts, one of them dies, nobody copies.
#pragma once

#include <string>
#include <vector>

#include "examples/demo/story.h"
#include "strata/strata.h"

namespace demo {

struct DemoOptions {
  std::vector<std::string> files;
  std::size_t workers = 4;
  std::string prefix;     // of all segments of this run: "shm:strata-demo-4711"
  std::string pool_path;  // the file of parts three and four

  std::string device_uri() const {
    return "cuda:" + prefix.substr(prefix.find(':') + 1) + ".buffer";
  }
  std::string corpus_uri() const { return prefix + ".texts"; }
  std::string work_uri() const { return prefix + ".work"; }
  std::string scratch_uri(std::size_t worker) const {
    return prefix + ".scratch-" + std::to_string(worker + 1);
  }
};

// A loader process puts the files into a segment and seals it. The result is attached read-only.
strata::Result<strata::Segment> load(Story& story, strata::Catalog& catalog,
                                     const DemoOptions& options);

strata::Result<void> count_shares(Story& story, strata::Catalog& catalog, strata::Os& os,
                                  const DemoOptions& options, const strata::Segment& corpus);

}  // namespace demo
