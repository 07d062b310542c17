"""fuzz_test: a libFuzzer target over Strata's own sources.

GCC has no libFuzzer, so this compiles the sources of the target and of all its dependencies once
more, with clang, AddressSanitizer and UndefinedBehaviorSanitizer. A test run draws a seed, prints
it and runs for `seconds`; replay or go on for longer with

    bazel test //segment:header_fuzz --test_env=STRATA_FUZZ_SEED=123 --test_output=all
    bazel run //segment:header_fuzz_program -- -max_total_time=3600
"""

load("@rules_cc//cc:defs.bzl", "CcInfo")

_CLANG = "/usr/bin/clang++"
_SANITIZERS = "-fsanitize=fuzzer,address,undefined"

# objects: compiled by clang, of a cc_library and of what it depends on.
FuzzObjectsInfo = provider(fields = ["objects"])

def _compile(ctx, src, context, copts):
    output = ctx.actions.declare_file("_fuzz/%s/%s.o" % (ctx.label.name, src.basename))
    args = ctx.actions.args()
    args.add_all(["-std=c++20", "-O1", "-g", "-fPIC", "-fno-omit-frame-pointer"])
    args.add_all([_SANITIZERS, "-fno-sanitize-recover=all"])
    args.add_all(context.defines, before_each = "-D")
    args.add_all(context.local_defines, before_each = "-D")
    args.add_all(context.quote_includes, before_each = "-iquote")
    args.add_all(context.includes, before_each = "-I")
    args.add_all(context.system_includes, before_each = "-isystem")
    args.add_all([c for c in copts if c[:2] in ["-D", "-m"]])
    args.add_all(["-c", src, "-o", output])
    ctx.actions.run(
        executable = _CLANG,
        arguments = [args],
        inputs = depset([src], transitive = [context.headers]),
        outputs = [output],
        env = {"PATH": "/usr/bin:/bin"},
        mnemonic = "FuzzCompile",
        progress_message = "Compiling %s for fuzzing" % src.short_path,
    )
    return output

def _fuzz_objects_aspect_impl(target, ctx):
    below = []
    for dep in getattr(ctx.rule.attr, "deps", []):
        if FuzzObjectsInfo in dep:
            below.append(dep[FuzzObjectsInfo].objects)
    objects = []
    if CcInfo in target and not target.label.workspace_name:
        for src in getattr(ctx.rule.files, "srcs", []):
            if src.extension == "cc":
                context = target[CcInfo].compilation_context
                objects.append(_compile(ctx, src, context, getattr(ctx.rule.attr, "copts", [])))
    return [FuzzObjectsInfo(objects = depset(objects, transitive = below))]

_fuzz_objects_aspect = aspect(
    implementation = _fuzz_objects_aspect_impl,
    attr_aspects = ["deps"],
)

def _fuzz_program_impl(ctx):
    contexts = [dep[CcInfo].compilation_context for dep in ctx.attr.deps]
    info = struct(
        defines = depset(transitive = [c.defines for c in contexts]),
        headers = depset(transitive = [c.headers for c in contexts]),
        includes = depset(transitive = [c.includes for c in contexts]),
        local_defines = depset(),
        quote_includes = depset(["."], transitive = [c.quote_includes for c in contexts]),
        system_includes = depset(transitive = [c.system_includes for c in contexts]),
    )
    objects = depset(
        [_compile(ctx, src, info, []) for src in ctx.files.srcs],
        transitive = [dep[FuzzObjectsInfo].objects for dep in ctx.attr.deps],
    )
    flags = {}
    for dep in ctx.attr.deps:
        for linker_input in dep[CcInfo].linking_context.linker_inputs.to_list():
            for flag in linker_input.user_link_flags:
                flags[flag] = True
    program = ctx.actions.declare_file(ctx.label.name)
    args = ctx.actions.args()
    args.add_all([_SANITIZERS, "-o", program])
    args.add_all(objects)
    args.add_all(flags.keys())
    ctx.actions.run(
        executable = _CLANG,
        arguments = [args],
        inputs = objects,
        outputs = [program],
        env = {"PATH": "/usr/bin:/bin"},
        mnemonic = "FuzzLink",
    )
    return [DefaultInfo(executable = program)]

_fuzz_program = rule(
    implementation = _fuzz_program_impl,
    attrs = {
        "deps": attr.label_list(aspects = [_fuzz_objects_aspect], providers = [CcInfo]),
        "srcs": attr.label_list(allow_files = [".cc"], mandatory = True),
    },
    executable = True,
)

def _fuzz_run_test_impl(ctx):
    script = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(script, """#!/bin/bash
seed=${{STRATA_FUZZ_SEED:-$RANDOM}}
echo "replay with --test_env=STRATA_FUZZ_SEED=$seed"
log=$TEST_TMPDIR/fuzz.log
{program} -seed="$seed" -max_total_time={seconds} -timeout=10 -print_final_stats=1 \\
  -artifact_prefix="${{TEST_UNDECLARED_OUTPUTS_DIR:-.}}/" "$@" {corpus} 2>&1 | tee "$log"
status=${{PIPESTATUS[0]}}
sed -n 's/^stat::number_of_executed_units: *\\([0-9]*\\)/verified: \\1 fuzz inputs/p' "$log"
exit "$status"
""".format(
        program = ctx.executable.program.short_path,
        seconds = ctx.attr.seconds,
        # libFuzzer writes what it finds into the first folder, so that one is scratch.
        corpus = " ".join(["$(mktemp -d)"] + {f.dirname: True for f in ctx.files.corpus}.keys()),
    ), is_executable = True)
    runfiles = ctx.runfiles(files = [ctx.executable.program] + ctx.files.corpus)
    return [DefaultInfo(executable = script, runfiles = runfiles)]

_fuzz_run_test = rule(
    implementation = _fuzz_run_test_impl,
    attrs = {
        "corpus": attr.label_list(allow_files = True, doc = "source files to start from"),
        "program": attr.label(executable = True, cfg = "target", mandatory = True),
        "seconds": attr.int(mandatory = True),
    },
    test = True,
)

def fuzz_test(name, srcs, deps, seconds = 60, corpus = [], size = "medium", **kwargs):
    """Runs the LLVMFuzzerTestOneInput of `srcs` for `seconds`; NAME_program is the fuzzer itself."""
    _fuzz_program(
        name = name + "_program",
        testonly = True,
        srcs = srcs,
        deps = deps,
    )
    _fuzz_run_test(
        name = name,
        size = size,
        corpus = corpus,
        program = ":" + name + "_program",
        seconds = seconds,
        **kwargs
    )
