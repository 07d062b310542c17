// Tells a heap which part of its segment lies on which node, so that threads allocate from memory
// of their own node first.
//
//     catalog.create("shm:graph", {.payload_bytes = GiB(1), .placement = split_over({0, 1})});
//     STRATA_ASSIGN(const HeapOptions options, heap_options_for(os, segment));
//     STRATA_ASSIGN(Heap heap, Heap::create(segment, options));
//
//   Threads:  any; the segment must stay as it is meanwhile.
//   Errors:   as report() (numa/page_report.h); failed_precondition for a read-only segment.
//   Cost:     that of report(): every page is asked about, not what was asked for.
#pragma once

#include "strata/base/result.h"
#include "strata/heap/heap.h"
#include "strata/segment/segment.h"

namespace strata::inline v0_1 {
class Os;  // hidden: declared outside of the pragma
}

#pragma GCC visibility push(default)
namespace strata::inline v0_1 {

// `nodes` is empty where there is nothing to choose: the segment lies on one node, is not there
// yet, or changes its node too often for a heap to follow (page by page, say).
Result<HeapOptions> heap_options_for(Os& os, Segment& segment);

}  // namespace strata::inline v0_1
#pragma GCC visibility pop
