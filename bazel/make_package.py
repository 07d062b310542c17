#!/usr/bin/env python3
"""Writes strata-VERSION.tar.gz: include/, lib/, bin/, and files for pkg-config and CMake.

Everything inside is relative to the place where a user unpacks it. The same inputs give the same
bytes.
"""

import argparse
import gzip
import io
import tarfile

PKG_CONFIG = """\
prefix=${{pcfiledir}}/../..
includedir=${{prefix}}/include
libdir=${{prefix}}/lib

Name: {name}
Description: Name a piece of memory once, use it from any process{how}
Version: {version}
Cflags: -std=c++20 -I${{includedir}}
Libs: {libs}
Libs.private: {private}
"""

CMAKE_CONFIG = """\
# strata::strata is the shared library, strata::static the static one.
get_filename_component(_strata_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET strata::strata)
  add_library(strata::strata SHARED IMPORTED)
  set_target_properties(strata::strata PROPERTIES
    IMPORTED_LOCATION "${_strata_prefix}/lib/libstrata.so"
    IMPORTED_SONAME "@SONAME@"
    INTERFACE_INCLUDE_DIRECTORIES "${_strata_prefix}/include"
    INTERFACE_COMPILE_FEATURES cxx_std_20)

  add_library(strata::static STATIC IMPORTED)
  set_target_properties(strata::static PROPERTIES
    IMPORTED_LOCATION "${_strata_prefix}/lib/libstrata.a"
    INTERFACE_INCLUDE_DIRECTORIES "${_strata_prefix}/include"
    INTERFACE_COMPILE_FEATURES cxx_std_20
    INTERFACE_LINK_LIBRARIES "@LINK_FLAGS@")
endif()

unset(_strata_prefix)
"""

# Before 1.0 every minor version may break the API, so both must be equal.
CMAKE_VERSION = """\
set(PACKAGE_VERSION "@VERSION@")
set(PACKAGE_VERSION_COMPATIBLE FALSE)
set(PACKAGE_VERSION_EXACT FALSE)
if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
  set(PACKAGE_VERSION_EXACT TRUE)
endif()
if("${PACKAGE_FIND_VERSION_MAJOR}.${PACKAGE_FIND_VERSION_MINOR}" STREQUAL "@SERIES@"
   AND PACKAGE_FIND_VERSION VERSION_LESS_EQUAL PACKAGE_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
"""


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


def fill(template, args):
    values = {
        "SONAME": args.soname,
        "VERSION": args.version,
        "SERIES": ".".join(args.version.split(".")[:2]),
        "LINK_FLAGS": ";".join(args.link_flag),
    }
    for key, value in values.items():
        template = template.replace(f"@{key}@", value)
    return template.encode()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--soname", required=True)
    parser.add_argument("--static", required=True)
    parser.add_argument("--shared", required=True)
    parser.add_argument("--link-flag", action="append", default=[])
    parser.add_argument("--header", action="append", default=[], help="source:path in the package")
    parser.add_argument("--binary", action="append", default=[])
    args = parser.parse_args()

    tarball = Tarball(args.output, f"strata-{args.version}")
    for header in sorted(args.header, key=lambda header: header.split(":")[1]):
        source, name = header.split(":")
        tarball.add_file(name, source)
    tarball.add_file("lib/libstrata.a", args.static)
    tarball.add_file(f"lib/{args.soname}", args.shared, 0o755)
    tarball.add_link("lib/libstrata.so", args.soname)
    for binary in args.binary:
        tarball.add_file(f"bin/{binary.split('/')[-1]}", binary, 0o755)

    private = " ".join(args.link_flag)
    for name, how, libs in [
        ("strata", "", "-L${libdir} -lstrata"),
        ("strata-static", " (static)", f"${{libdir}}/libstrata.a {private}"),
    ]:
        text = PKG_CONFIG.format(
            name=name, how=how, version=args.version, libs=libs, private=private
        )
        tarball.add_bytes(f"lib/pkgconfig/{name}.pc", text.encode())
    tarball.add_bytes("lib/cmake/strata/strataConfig.cmake", fill(CMAKE_CONFIG, args))
    tarball.add_bytes("lib/cmake/strata/strataConfigVersion.cmake", fill(CMAKE_VERSION, args))
    tarball.close()


if __name__ == "__main__":
    main()
