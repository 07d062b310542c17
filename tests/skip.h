// SKIP_TEST(why) leaves a test case that this machine cannot run, and says why.
//
// The case counts as skipped in the closing line of ./check, never as passed. Use it for what the
// machine lacks (a second NUMA node, huge pages), not for a test that fails.
//
//     if (node_count < 2) SKIP_TEST("needs two NUMA nodes, found " << node_count);
#pragma once

#include <sstream>
#include <string>

#include "tests/catch.h"

namespace strata::inline v0_1::test {

// Marks the running case as skipped. Called by SKIP_TEST, which also leaves the case.
void mark_skipped(const std::string& why);

}  // namespace strata::inline v0_1::test

#ifdef SKIP
#define SKIP_TEST(why) SKIP(why)
#else
// Catch2 2 has no SKIP. Only in the test case's own function, as this returns from it.
#define SKIP_TEST(why)                               \
  do {                                               \
    std::ostringstream skip_reason;                  \
    skip_reason << why;                              \
    ::strata::test::mark_skipped(skip_reason.str()); \
    SUCCEED("skipped: " << skip_reason.str());       \
    return;                                          \
  } while (false)
#endif
