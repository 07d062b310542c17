"""tidy_aspect: clang-tidy over every source, and every header compiled alone, as build actions.

Bazel runs again only what changed, and keeps the rest from its cache:

    bazel build --aspects=//bazel:tidy.bzl%tidy_aspect --output_groups=tidy //...

Test code is left out: it is run anyway, and Catch2 would double the time that this takes.
"""

load("@rules_cc//cc:defs.bzl", "CcInfo")

_CLANG_TIDY = "/usr/bin/clang-tidy"

def _add_flags(args, context, rule):
    args.add_all(["-std=c++20", "-Wall", "-Wextra"])
    args.add_all(context.defines, before_each = "-D")
    args.add_all(context.local_defines, before_each = "-D")
    args.add_all(context.quote_includes, before_each = "-iquote")
    args.add_all(context.includes, before_each = "-I")
    args.add_all(context.system_includes, before_each = "-isystem")
    args.add_all([c for c in getattr(rule.attr, "copts", []) if c[:2] in ["-D", "-m"]])

def _compile_alone(ctx, header, context):
    stamp = ctx.actions.declare_file("_alone/%s/%s.ok" % (ctx.label.name, header.basename))
    args = ctx.actions.args()
    args.add(stamp)
    args.add_all(["/usr/bin/g++", "-fsyntax-only", "-Werror"])
    _add_flags(args, context, ctx.rule)
    args.add_all(["-include", header, "-xc++", "/dev/null"])
    ctx.actions.run_shell(
        command = 'stamp=$1; shift; "$@" && : > "$stamp"',
        arguments = [args],
        inputs = depset([header], transitive = [context.headers]),
        outputs = [stamp],
        mnemonic = "CompileAlone",
        progress_message = "Compiling %s alone" % header.short_path,
    )
    return stamp

def _tidy_aspect_impl(target, ctx):
    if target.label.workspace_name or CcInfo not in target or not hasattr(ctx.rule.files, "srcs"):
        return []
    if ctx.rule.attr.testonly:
        return []
    context = target[CcInfo].compilation_context
    done = [
        _compile_alone(ctx, header, context)
        for header in getattr(ctx.rule.files, "hdrs", [])
        if header.extension == "h" and header.is_source
    ]
    for src in ctx.rule.files.srcs:
        if src.extension != "cc" or not src.is_source:
            continue
        stamp = ctx.actions.declare_file("_tidy/%s/%s.ok" % (target.label.name, src.basename))
        args = ctx.actions.args()
        args.add(stamp)
        args.add_all([_CLANG_TIDY, "--quiet", "--config-file=" + ctx.file._config.path])
        args.add(src)
        args.add_all(["--", "-xc++"])
        _add_flags(args, context, ctx.rule)
        ctx.actions.run_shell(
            # Its count of suppressed warnings goes to stderr, which matters on failure only.
            command = 'stamp=$1; shift; log=$("$@" 2>&1) || { echo "$log" >&2; exit 1; }; : > "$stamp"',
            arguments = [args],
            inputs = depset([src, ctx.file._config], transitive = [context.headers]),
            outputs = [stamp],
            mnemonic = "ClangTidy",
            progress_message = "Checking %s with clang-tidy" % src.short_path,
        )
        done.append(stamp)
    return [OutputGroupInfo(tidy = depset(done))]

tidy_aspect = aspect(
    implementation = _tidy_aspect_impl,
    attrs = {
        "_config": attr.label(default = "//:.clang-tidy", allow_single_file = True),
    },
)
