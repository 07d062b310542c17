"""The module extension that MODULE.bazel uses (Bazel 7 and newer)."""

load("//bazel:repositories.bzl", "system_repositories")

def _system_impl(_ctx):
    system_repositories()

system = module_extension(implementation = _system_impl)
