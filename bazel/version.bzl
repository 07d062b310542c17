"""The version of Strata; tests/package checks that MODULE.bazel says the same."""

STRATA_VERSION = "0.1.0"
