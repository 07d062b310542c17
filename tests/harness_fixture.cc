// A test that passes, fails and skips. harness_test.py runs it; no other suite does.
#include "tests/catch.h"
#include "tests/skip.h"

TEST_CASE("this_one_passes") { CHECK(true); }

TEST_CASE("this_one_fails & says <so>") { CHECK(false); }

TEST_CASE("this_one_skips") {
  SKIP_TEST("needs " << 2 << " nodes");
  FAIL("went on after the skip");
}
