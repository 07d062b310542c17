"""One segment from C++, C, Cython and Python: each compiled as a user compiles it, against the
tarball, and each reads what the others wrote."""

import os
import shutil
import sys

import pytest

import strata
from tests.package.using import pkg_config, run, unpack_tarball, with_libraries_of

HERE = "examples/python/one_segment"
URI = f"shm:one-{os.getpid()}"


@pytest.fixture(name="prefix", scope="module")
def prefix_fixture(tmp_path_factory):
    return unpack_tarball(tmp_path_factory.mktemp("installed"))


@pytest.fixture(name="segment", autouse=True)
def segment_fixture():
    yield URI
    strata.remove(URI, force=True)


def compiled(prefix, tmp_path, compiler, source, package):
    program = str(tmp_path / f"one_in_{package}")
    flags = pkg_config(prefix, "--cflags", "--libs", package)
    run(*compiler, "-Wall", "-Wextra", "-Werror", f"{HERE}/{source}", "-o", program, *flags)
    return program


@pytest.fixture(name="cplusplus")
def cplusplus_fixture(prefix, tmp_path):
    return compiled(prefix, tmp_path, ["g++", "-std=c++20"], "one.cc", "strata")


def call(prefix, *command):
    return run(*command, URI, env=with_libraries_of(prefix))


def in_python():
    # The package that the test has, not the library that the programs are linked with.
    return run(sys.executable, f"{HERE}/one.py", URI)


def test_cplusplus_c_and_python_read_what_each_other_wrote(prefix, tmp_path, cplusplus):
    in_c = compiled(prefix, tmp_path, ["gcc", "-std=c99", "-pedantic"], "one.c", "strata-c")
    assert call(prefix, cplusplus) == "C++ reads the sum 0 and writes 1\n"
    assert call(prefix, in_c) == "C reads the sum 1 and writes 2\n"
    assert in_python() == "Python reads the sum 3 and writes 4: [1. 2. 0. 4.]\n"
    assert call(prefix, cplusplus) == "C++ reads the sum 7 and writes 8\n"


def test_cython_reads_the_array_that_cplusplus_made(prefix, tmp_path, cplusplus):
    cython = shutil.which("cython3") or shutil.which("cython")
    if cython is None:
        pytest.skip("there is no cython3")
    source = str(tmp_path / "one_cython.c")
    run(cython, f"{HERE}/one_cython.pyx", "-o", source)
    includes = run("/usr/bin/python3-config", "--includes").split()
    module = str(tmp_path / "one_cython.so")
    run("gcc", "-shared", "-fPIC", source, "-o", module, *includes)
    call(prefix, cplusplus)
    script = "import one_cython, sys; one_cython.add_number(sys.argv[1])"
    path = f"{tmp_path}:{os.environ['PYTHONPATH']}"
    said = run(sys.executable, "-c", script, URI, env=dict(os.environ, PYTHONPATH=path))
    assert said == "Cython reads the sum 1 and writes 2\n"
    assert in_python() == "Python reads the sum 3 and writes 4: [1. 0. 2. 4.]\n"


def test_the_command_tells_what_cplusplus_made(prefix, cplusplus):
    call(prefix, cplusplus)
    assert "<f8" in call(prefix, f"{prefix}/bin/strata", "info")
