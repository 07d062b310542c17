"""python_package: the package `strata` for Python as it is installed, for tests and benchmarks."""

load("//bazel:optimised.bzl", "optimised")

def _place(ctx, file, name):
    output = ctx.actions.declare_file("%s/%s" % (ctx.label.name, name))
    ctx.actions.symlink(output = output, target_file = file)
    return output

def _python_package_impl(ctx):
    modules = [target[DefaultInfo].files.to_list()[0] for target in ctx.attr.modules]
    outputs = [_place(ctx, file, "strata/" + file.basename) for file in modules]
    outputs.append(_place(ctx, ctx.files.command[0], "strata/_command/strata"))
    for file in ctx.files.srcs:
        outputs.append(_place(ctx, file, file.short_path[len(ctx.label.package) + 1:]))
    return [DefaultInfo(files = depset(outputs), runfiles = ctx.runfiles(files = outputs))]

python_package = rule(
    implementation = _python_package_impl,
    attrs = {
        "command": attr.label(cfg = optimised, mandatory = True),
        "modules": attr.label_list(cfg = optimised, doc = "extension modules, linked"),
        "srcs": attr.label_list(allow_files = True),
        "_allowlist_function_transition": attr.label(
            default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
        ),
    },
)
