"""vm_test: a suite of test cases that run in the emulated machine; see docs/guides/testing.md."""

load("//bazel:optimised.bzl", "optimised")

def _vm_test_impl(ctx):
    script = ctx.actions.declare_file(ctx.label.name)
    arguments = ["--" + key.replace("_", "-") + "=" + value for key, value in ctx.attr.options.items()]
    if ctx.file.suite:
        arguments.append("--suite=" + ctx.file.suite.short_path)
    arguments += [f.short_path for f in ctx.files.programs]

    # Bazel starts a test in the runfiles of the workspace.
    ctx.actions.write(script, """#!/bin/sh
export PYTHONPATH="$PWD" PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 -m tests.vm.{} {} "$@"
""".format(
        ctx.attr.runner,
        " ".join(["'%s'" % argument for argument in arguments]),
    ), is_executable = True)
    files = ctx.files._rig + ctx.files.programs
    if ctx.file.suite:
        files.append(ctx.file.suite)
    return [DefaultInfo(executable = script, runfiles = ctx.runfiles(files = files))]

_vm_test = rule(
    implementation = _vm_test_impl,
    attrs = {
        "options": attr.string_dict(),
        # As they are installed: emulated, what is not optimised takes several times as long.
        "programs": attr.label_list(allow_files = True, cfg = optimised),
        "runner": attr.string(mandatory = True),
        "suite": attr.label(allow_single_file = [".sh"]),
        "_allowlist_function_transition": attr.label(
            default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
        ),
        "_rig": attr.label(default = "//tests/vm:rig", allow_files = True),
    },
    test = True,
)

def vm_test(name, runner = "run_suite", tags = [], size = "large", **kwargs):
    """A test target whose cases come from the guest.

    Args:
      name: of the test.
      runner: the host's side: a module of tests/vm that starts the machine and reports.
      tags: beside the ones that every such test has.
      size: also the watchdog: .bazelrc says how many seconds each size may run.
      **kwargs: suite, the script that the guest runs; programs, which land in the guest with the
        libraries that they need; options, for the runner.
    """

    # local: the emulator needs the kernel's cache in the home directory, and gigabytes of address
    # space. exclusive is left out on purpose: two machines side by side are fine.
    _vm_test(
        name = name,
        runner = runner,
        tags = tags + ["local", "vm"],
        size = size,
        **kwargs
    )
