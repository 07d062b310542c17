"""strata_package: a tarball that a C++ program uses without Bazel."""

load("@rules_cc//cc:defs.bzl", "CcInfo")
load("//bazel:optimised.bzl", "optimised")

def _own_archives(linker_inputs):
    archives = {}
    for linker_input in linker_inputs:
        if linker_input.owner.workspace_name:
            continue
        for library in linker_input.libraries:
            archive = library.pic_static_library or library.static_library
            if archive:
                archives[archive] = True
    return archives.keys()

def _system_libraries(linker_inputs):
    flags = {}
    for linker_input in linker_inputs:
        for flag in linker_input.user_link_flags:
            flags[flag] = True
    return flags.keys()

def _static_library(ctx, archives):
    output = ctx.actions.declare_file("%s/libstrata.a" % ctx.label.name)
    script = ctx.actions.declare_file("%s/libstrata.mri" % ctx.label.name)
    lines = ["create " + output.path]
    lines += ["addlib " + archive.path for archive in archives]
    ctx.actions.write(script, "\n".join(lines + ["save", "end", ""]))
    ctx.actions.run_shell(
        # ar takes members of equal name from different archives; -D keeps the output reproducible.
        command = "/usr/bin/ar -M < %s && /usr/bin/ranlib -D %s" % (script.path, output.path),
        inputs = archives + [script],
        outputs = [output],
        mnemonic = "MergeArchives",
    )
    return output

def _shared_library(ctx, archive, flags):
    output = ctx.actions.declare_file("%s/libstrata.so" % ctx.label.name)
    args = ctx.actions.args()
    args.add_all(["-shared", "-o", output, "-Wl,-soname," + _soname(ctx), "-Wl,-z,defs"])
    args.add(ctx.file._exports, format = "-Wl,--version-script=%s")
    args.add_all(["-Wl,--whole-archive", archive, "-Wl,--no-whole-archive"])
    args.add_all(flags)
    ctx.actions.run(
        executable = "/usr/bin/g++",
        arguments = [args],
        inputs = [archive, ctx.file._exports],
        outputs = [output],
        env = {"PATH": "/usr/bin:/bin"},
        mnemonic = "LinkShared",
    )
    return output

def _texts(ctx):
    output = ctx.actions.declare_directory("%s/share" % ctx.label.name)
    command = ctx.files.binaries[0]
    ctx.actions.run(
        executable = ctx.file._write_texts,
        arguments = [command.path, output.path],
        inputs = [command],
        outputs = [output],
        env = {"PATH": "/usr/bin:/bin"},
        mnemonic = "CommandTexts",
    )
    return output

def _soname(ctx):
    # Before 1.0 every minor version may break the ABI.
    return "libstrata.so." + ".".join(ctx.attr.version.split(".")[:2])

def _strata_package_impl(ctx):
    infos = [dep[CcInfo] for dep in ctx.attr.libraries]
    linker_inputs = []
    for info in infos:
        linker_inputs += info.linking_context.linker_inputs.to_list()
    flags = _system_libraries(linker_inputs)
    static = _static_library(ctx, _own_archives(linker_inputs))
    shared = _shared_library(ctx, static, flags)

    output = ctx.actions.declare_file("strata-%s.tar.gz" % ctx.attr.version)
    args = ctx.actions.args()
    args.add_all(["-B", ctx.file._maker])
    args.add("--output", output)
    args.add("--version", ctx.attr.version)
    args.add("--soname", _soname(ctx))
    args.add("--static", static)
    args.add("--shared", shared)
    for flag in flags:
        args.add("--link-flag=" + flag)
    for template in ctx.files._templates:
        args.add("--template", template)
    for file in ctx.files.files:
        args.add("--file", file.path + ":" + file.short_path)
    for binary in ctx.files.binaries:
        args.add("--binary", binary)
    texts = _texts(ctx)
    args.add("--share", texts.path)
    ctx.actions.run(
        executable = "/usr/bin/python3",
        arguments = [args],
        inputs = ctx.files.files + ctx.files.binaries + ctx.files._templates +
                 [static, shared, texts, ctx.file._maker],
        outputs = [output],
        mnemonic = "StrataPackage",
    )
    return [DefaultInfo(files = depset([output]))]

strata_package = rule(
    implementation = _strata_package_impl,
    attrs = {
        "binaries": attr.label_list(
            cfg = optimised,
            doc = "what goes into bin/; the first writes its own manual pages and completions",
        ),
        "files": attr.label_list(allow_files = True, doc = "what keeps the place it has in the tree"),
        "libraries": attr.label_list(cfg = optimised, mandatory = True, providers = [CcInfo]),
        "version": attr.string(mandatory = True),
        "_allowlist_function_transition": attr.label(
            default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
        ),
        "_exports": attr.label(default = "//bazel:exports.map", allow_single_file = True),
        "_maker": attr.label(default = "//bazel:make_package.py", allow_single_file = True),
        "_write_texts": attr.label(default = "//tools:write_texts.sh", allow_single_file = True),
        "_templates": attr.label(default = "//:package_templates", allow_files = True),
    },
)
