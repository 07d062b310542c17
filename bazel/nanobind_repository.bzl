"""nanobind of PyPI, pinned, as @nanobind//:nanobind: tests/wheels.py keeps it in its cache.

Where it cannot be had, only what needs it fails, with the reason."""

NANOBIND_VERSION = "3.1.0"

_BUILD = """load("@rules_cc//cc:defs.bzl", "cc_library")

cc_library(
    name = "nanobind",
    srcs = ["nanobind/src/nb_combined.cpp"] + glob(["nanobind/src/*.h"]),
    hdrs = glob(["nanobind/include/**/*.h", "nanobind/ext/robin_map/include/**/*.h"]),
    copts = ["-fno-strict-aliasing", "-ffunction-sections", "-fdata-sections", "-w"],
    includes = ["nanobind/include"],
    local_defines = ["NB_BUILD", "NB_COMPACT_ASSERTIONS"],
    textual_hdrs = glob(["nanobind/src/*.cpp"], exclude = ["nanobind/src/nb_combined.cpp"]),
    visibility = ["//visibility:public"],
    deps = ["@python//:python", ":robin_map"],
)

cc_library(
    name = "robin_map",
    hdrs = glob(["nanobind/ext/robin_map/include/**/*.h"]),
    includes = ["nanobind/ext/robin_map/include"],
)
"""

_UNAVAILABLE = """genrule(
    name = "nanobind",
    outs = ["unavailable.h"],
    cmd = "echo {reason} >&2; false",
    visibility = ["//visibility:public"],
)
"""

def _nanobind_repository_impl(ctx):
    wheels = ctx.path(Label("//tests:wheels.py"))
    got = ctx.execute(["/usr/bin/python3", wheels, "nanobind", NANOBIND_VERSION], timeout = 600)
    ctx.file("WORKSPACE", "")
    if got.return_code == 0:
        ctx.symlink(got.stdout.strip() + "/nanobind", "nanobind")
        ctx.file("BUILD", _BUILD)
    else:
        reason = "".join([c for c in got.stderr.replace("\n", " ").elems() if c not in "'\"\\$`"])
        ctx.file("BUILD", _UNAVAILABLE.format(reason = repr("'" + reason + "'")[1:-1]))

nanobind_repository = repository_rule(
    implementation = _nanobind_repository_impl,
    configure = True,
    environ = ["STRATA_WHEEL_CACHE"],
)
