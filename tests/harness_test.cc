// The test harness itself: what ./check counts rests on it.
#include <cstdlib>

#include "tests/catch.h"
#include "tests/skip.h"

TEST_CASE("bazel_says_where_the_junit_file_goes") {
  if (std::getenv("TEST_SRCDIR") == nullptr) SKIP_TEST("not started by bazel test");
  CHECK(std::getenv("XML_OUTPUT_FILE") != nullptr);
}
