"""strata_test: a Catch2 test with the project's main; see tests/catch.h and tests/skip.h."""

load("@rules_cc//cc:defs.bzl", "cc_test")

def strata_test(name, srcs, deps = [], size = "small", **kwargs):
    """A cc_test that records its cases for the closing line of ./check.

    Args:
      name: of the test.
      srcs: sources, which include "tests/catch.h".
      deps: what it tests.
      size: also the watchdog: .bazelrc says how many seconds each size may run.
      **kwargs: data, tags, args and so on, as for cc_test.
    """
    cc_test(
        name = name,
        size = size,
        srcs = srcs,
        deps = deps + ["//tests:catch_main"],
        **kwargs
    )
