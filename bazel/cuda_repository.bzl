"""Says in @local_cuda//:defs.bzl whether this machine has a CUDA toolkit, and where.

@local_cuda//:headers are the headers of its driver interface; empty where there is no toolkit."""

def _find_nvcc(ctx):
    # CUDA_PATH, once set, is the only candidate: CUDA_PATH=none hides CUDA.
    roots = ["/usr/local/cuda", "/opt/cuda", "/usr"]
    for variable in ["CUDA_HOME", "CUDA_PATH"]:
        if ctx.os.environ.get(variable):
            roots = [ctx.os.environ[variable]]
    for root in roots:
        if not root.startswith("/"):
            continue
        nvcc = ctx.path(root + "/bin/nvcc")
        if nvcc.exists and ctx.path(root + "/include/cuda.h").exists:
            return root
    return ""

_BUILD = """load("@rules_cc//cc:defs.bzl", "cc_library")

cc_library(
    name = "headers",
    hdrs = glob(["include/cuda.h", "include/cudaTypedefs.h"], allow_empty = True),
    includes = ["include"],
    visibility = ["//visibility:public"],
)
"""

def _cuda_repository_impl(ctx):
    root = _find_nvcc(ctx)
    ctx.file("WORKSPACE", "")
    ctx.file("BUILD", _BUILD)
    if root:
        ctx.symlink(root + "/include", "include")
    ctx.file("defs.bzl", "CUDA_AVAILABLE = %r\nCUDA_ROOT = %r\n" % (root != "", root))

cuda_repository = repository_rule(
    implementation = _cuda_repository_impl,
    configure = True,
    environ = ["CUDA_PATH", "CUDA_HOME"],
    local = True,
)
