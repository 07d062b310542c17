"""python_test: a pytest file run by Debian's Python, its cases recorded for ./check."""

# Not the first python3 on PATH: apt.sh installs pytest for this one.
PYTHON = "/usr/bin/python3"

def _python_test_impl(ctx):
    script = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(script, """#!/bin/sh
# Bazel starts tests in the runfiles of the workspace; includes and data are relative to it.
export PYTHONPATH="$PWD{imports}" PYTHONDONTWRITEBYTECODE=1
# The pools that tests make are none of those that whoever runs them uses.
export XDG_STATE_HOME="$TEST_TMPDIR/state"
exec {python} -m pytest -q -p no:cacheprovider --basetemp="$TEST_TMPDIR/pytest" \\
  --junitxml="${{XML_OUTPUT_FILE:-/dev/null}}" {main} "$@"
""".format(
        python = PYTHON,
        main = ctx.file.src.short_path,
        imports = "".join([":$PWD/" + path for path in ctx.attr.imports]),
    ), is_executable = True)
    runfiles = ctx.runfiles(files = ctx.files.data + [ctx.file.src])
    for data in ctx.attr.data:
        runfiles = runfiles.merge(data[DefaultInfo].default_runfiles)
    return [DefaultInfo(executable = script, runfiles = runfiles)]

python_test = rule(
    implementation = _python_test_impl,
    attrs = {
        "data": attr.label_list(allow_files = True),
        "imports": attr.string_list(doc = "folders, from the root, that modules are found in too"),
        "src": attr.label(allow_single_file = [".py"], mandatory = True),
    },
    test = True,
)
