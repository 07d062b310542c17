// Part four: processes share memory of a GPU, its producer is killed, and a third goes on with it.
// Where there is no GPU it runs on the fake driver of the tests, and says so.
#pragma once

#include <string>

#include "examples/demo/count_part.h"
#include "examples/demo/story.h"
#include "strata/strata.h"

namespace demo {

strata::Result<void> share_device_memory(Story& story, strata::Catalog& catalog, strata::Os& os,
                                         const DemoOptions& options, const strata::Segment& corpus);

// The processes of it; `role` is --gpu-producer, --gpu-consumer or --gpu-reader. The first two stay
// until they are killed.
strata::Result<void> run_gpu_process(strata::Catalog& catalog, const std::string& role,
                                     const std::string& uri, const std::string& corpus_uri);

}  // namespace demo
