"""A header-only library under /usr/include, as @name//:name."""

def _system_header_repository_impl(ctx):
    if not ctx.path("/usr/include/" + ctx.attr.header).exists:
        fail("%s: /usr/include/%s is missing; try: apt-get install %s" %
             (ctx.attr.target, ctx.attr.header, ctx.attr.apt))
    ctx.file("WORKSPACE", "")

    # No symlink and no `includes`: the compiler searches /usr/include anyway.
    ctx.file("BUILD", """load("@rules_cc//cc:defs.bzl", "cc_library")

cc_library(
    name = {name},
    visibility = ["//visibility:public"],
)
""".format(name = repr(ctx.attr.target)))

system_header_repository = repository_rule(
    implementation = _system_header_repository_impl,
    attrs = {
        "apt": attr.string(mandatory = True, doc = "the Debian package, for the message"),
        "header": attr.string(mandatory = True, doc = "below /usr/include"),
        "target": attr.string(mandatory = True, doc = "of the cc_library"),
    },
    configure = True,
    local = True,
)
