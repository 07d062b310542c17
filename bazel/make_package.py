#!/usr/bin/env python3
"""Writes strata-VERSION.tar.gz: include/, lib/, bin/, what is read, files for pkg-config and CMake.

Everything inside is relative to the place where a user unpacks it. The same inputs give the same
bytes. The files for pkg-config and CMake are made from the templates of cmake/, from which a build
with CMake makes its own.
"""

import argparse
import gzip
import io
import os
import re
import tarfile

class Tarball:
    def __init__(self, path, top):
        self.top = top
        self.raw = open(path, "wb")
        # No name and no time in the gzip header: they would differ between builds.
        self.zipped = gzip.GzipFile("", "wb", fileobj=self.raw, mtime=0)
        self.tar = tarfile.open(fileobj=self.zipped, mode="w", format=tarfile.PAX_FORMAT)

    def add_bytes(self, name, content, mode=0o644):
        member = tarfile.TarInfo(f"{self.top}/{name}")
        member.size = len(content)
        member.mode = mode
        self.tar.addfile(member, io.BytesIO(content))

    def add_file(self, name, source, mode=0o644):
        with open(source, "rb") as content:
            self.add_bytes(name, content.read(), mode)

    def add_link(self, name, target):
        member = tarfile.TarInfo(f"{self.top}/{name}")
        member.type = tarfile.SYMTYPE
        member.linkname = target
        member.mode = 0o777
        self.tar.addfile(member)

    def close(self):
        self.tar.close()
        self.zipped.close()
        self.raw.close()


def fill(template, values):
    """The template with each @WORD@ in it replaced; a word that nobody knows is an error."""
    with open(template) as file:
        return re.sub("@([A-Z_]+)@", lambda match: values[match.group(1)], file.read()).encode()


def add_pkg_config(tarball, template, values, has_c_api):
    private = " ".join(values["LINK_FLAGS"].split(";"))
    shared = "-L${libdir} -lstrata"
    static = "${libdir}/libstrata.a " + private
    includes = "-I${includedir}"
    packages = [
        # name, what the description adds, Cflags, Libs, Libs.private
        ("strata", "", f"-std=c++20 {includes}", shared, private),
        ("strata-static", " (static)", f"-std=c++20 {includes}", static, ""),
    ]
    if has_c_api:
        # Without the language flag, which a compiler for C refuses.
        packages.append(("strata-c", " (from C)", includes, shared, f"{private} -lstdc++"))
    for name, how, cflags, libs, libs_private in packages:
        text = fill(
            template,
            {
                **values,
                "PREFIX": "${pcfiledir}/../..",
                "NAME": name,
                "HOW": how,
                "CFLAGS": cflags,
                "LIBS": libs,
                "LIBS_PRIVATE": libs_private,
            },
        )
        tarball.add_bytes(f"lib/pkgconfig/{name}.pc", text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--soname", required=True)
    parser.add_argument("--static", required=True)
    parser.add_argument("--shared", required=True)
    parser.add_argument("--link-flag", action="append", default=[])
    parser.add_argument("--template", action="append", default=[])
    parser.add_argument("--file", action="append", default=[], help="source:path in the package")
    parser.add_argument("--binary", action="append", default=[])
    parser.add_argument("--share", help="a folder that becomes share/")
    args = parser.parse_args()

    tarball = Tarball(args.output, f"strata-{args.version}")
    files = sorted(tuple(reversed(file.split(":"))) for file in args.file)
    for name, source in files:
        tarball.add_file(name, source)
    tarball.add_file("lib/libstrata.a", args.static)
    tarball.add_file(f"lib/{args.soname}", args.shared, 0o755)
    tarball.add_link("lib/libstrata.so", args.soname)
    for binary in args.binary:
        tarball.add_file(f"bin/{os.path.basename(binary)}", binary, 0o755)

    for folder, _, names in sorted(os.walk(args.share)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            tarball.add_file(os.path.join("share", os.path.relpath(path, args.share)), path)

    values = {
        "VERSION": args.version,
        "SERIES": ".".join(args.version.split(".")[:2]),
        "SONAME": args.soname,
        "LINK_FLAGS": ";".join(args.link_flag),
        "INCLUDEDIR": "include",
        "LIBDIR": "lib",
        "BINDIR": "bin",
        "PREFIX_FROM_CMAKE": "../../..",
    }
    for template in args.template:
        name = os.path.basename(template)[: -len(".in")]
        if name.endswith(".pc"):
            has_c_api = any(name == "include/strata/c.h" for name, _ in files)
            add_pkg_config(tarball, template, values, has_c_api)
        else:
            tarball.add_bytes(f"lib/cmake/strata/{name}", fill(template, values))
    tarball.close()


if __name__ == "__main__":
    main()
