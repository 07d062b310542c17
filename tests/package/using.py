"""What the tests of packages share: programs that use an installed Strata as users do."""

import os
import shutil
import subprocess
import tarfile

import pytest

HERE = "tests/package"
EXPECTED_OUTPUT = "hello from another mapping\n"
SEGMENT = f"shm:package_test_{os.getpid()}"


def source_root():
    # Through the symlink that Bazel made of this file: the whole tree is no input of one test.
    here = os.path.realpath(__file__)
    root = os.path.dirname(os.path.dirname(os.path.dirname(here)))
    assert os.path.exists(f"{root}/WORKSPACE")
    return root


def run(*command, **kwargs):
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **kwargs
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}"
    return result.stdout


def unpack_tarball(place):
    """The prefix in which the tarball of //:package, of the test's data, is installed then."""
    (tarball,) = [name for name in os.listdir(".") if name.endswith(".tar.gz")]
    with tarfile.open(tarball) as tar:
        tar.extractall(place)
    return f"{place}/{tarball[: -len('.tar.gz')]}"


def with_libraries_of(prefix, **more):
    """The environment in which programs find what is in PREFIX/lib."""
    lib = f"{prefix}/lib"
    return dict(os.environ, LD_LIBRARY_PATH=lib, PKG_CONFIG_PATH=f"{lib}/pkgconfig", **more)


def pkg_config(prefix, *args):
    return run("pkg-config", *args, env=with_libraries_of(prefix)).split()


def needed(program):
    """What the program, or library, asks the dynamic linker for, but for that linker itself."""
    lines = run("readelf", "-d", program).splitlines()
    found = {line.split("[")[1].rstrip("]") for line in lines if "(NEEDED)" in line}
    return {name for name in found if not name.startswith("ld-linux")}


def links_libstrata(program):
    return any(name.startswith("libstrata") for name in needed(program))


def defined_symbols(archive):
    """The names that others can link with; weak ones are copies that any compiler may leave out."""
    lines = run("nm", "--defined-only", "--extern-only", archive).splitlines()
    words = [line.split() for line in lines]
    return {word[2] for word in words if len(word) == 3 and word[1] in "TDBR"}


def exported_symbols(library):
    """What a program finds in a shared library, by the compiler's names, without versions."""
    lines = run("nm", "--dynamic", "--defined-only", library).splitlines()
    return {line.split()[2].split("@")[0] for line in lines if line.split()[1] != "A"}


def files_below(folder):
    return {
        os.path.relpath(os.path.join(directory, name), folder)
        for directory, _, names in os.walk(folder)
        for name in names
    }


def need_c_api(prefix):
    if not os.path.exists(f"{prefix}/include/strata/c.h"):
        pytest.skip("this Strata has no <strata/c.h>")


C_PROJECT = """
cmake_minimum_required(VERSION 3.18)
project(consumer C)
find_package(strata 0.1 REQUIRED)
add_executable(consumer consumer.c)
target_link_libraries(consumer strata::strata)
"""


def build_c_with_cmake(prefix, tmp_path):
    """The consumer in C, of a project that knows no C++."""
    need_c_api(prefix)
    shutil.copy(f"{HERE}/consumer.c", tmp_path)
    (tmp_path / "CMakeLists.txt").write_text(C_PROJECT)
    build = f"{tmp_path}/build"
    run("cmake", "-S", str(tmp_path), "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", build)
    return f"{build}/consumer"


def build_c_with_pkg_config(prefix, tmp_path):
    need_c_api(prefix)
    program = str(tmp_path / "consumer_c")
    flags = pkg_config(prefix, "--cflags", "--libs", "strata-c")
    strict = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    run("gcc", *strict, f"{HERE}/consumer.c", "-o", program, *flags)
    return program


def build_with_cmake(prefix, tmp_path):
    """The consumers of CMakeLists.txt, in tmp_path/build."""
    for name in ("consumer.cc", "CMakeLists.txt"):
        shutil.copy(f"{HERE}/{name}", tmp_path)
    build = f"{tmp_path}/build"
    run("cmake", "-S", str(tmp_path), "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", build)
    return build
