"""`cmake -B build && cmake --build build && cmake --install build` gives what the tarball gives.

It compiles the library once more, which takes many minutes: ./check --all.
"""

import json
import os
import re
import shutil

import pytest

from tests.package.using import (
    EXPECTED_OUTPUT,
    HERE,
    SEGMENT,
    build_c_with_cmake,
    build_c_with_pkg_config,
    build_with_cmake,
    defined_symbols,
    exported_symbols,
    files_below,
    links_libstrata,
    needed,
    pkg_config,
    run,
    source_root,
    unpack_tarball,
    with_libraries_of,
)

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")


@pytest.fixture(name="build", scope="module")
def build_fixture(tmp_path_factory):
    build = str(tmp_path_factory.mktemp("build"))
    # lib/ as in the tarball, and not the name that this system would give it.
    run("cmake", "-S", source_root(), "-B", build, "-DCMAKE_INSTALL_LIBDIR=lib")
    run("cmake", "--build", build, "--parallel", str(len(os.sched_getaffinity(0))))
    return build


@pytest.fixture(name="prefix", scope="module")
def prefix_fixture(build, tmp_path_factory):
    prefix = str(tmp_path_factory.mktemp("installed"))
    run("cmake", "--install", build, "--prefix", prefix)
    return prefix


@pytest.fixture(name="tarball", scope="module")
def tarball_fixture(tmp_path_factory):
    return unpack_tarball(tmp_path_factory.mktemp("tarball"))


def test_ctest_passes(build):
    assert "100% tests passed" in run("ctest", "--test-dir", build, "--output-on-failure")


def test_it_installs_the_files_of_the_tarball(prefix, tarball):
    docs = "share/doc/strata/"
    # Where the tarball has what is read at its top, an installation has it among that of others.
    installed = {name.replace(docs, "", 1) for name in files_below(prefix)}
    # CMake names the file by the whole version and links the soname to it.
    whole = {name for name in installed if re.fullmatch(r"lib/libstrata[.]so([.]\d+){3}", name)}
    assert len(whole) == 1
    assert installed - whole == files_below(tarball)


def test_both_builds_define_and_export_the_same(prefix, tarball):
    archive, library = "lib/libstrata.a", "lib/libstrata.so"
    assert len(defined_symbols(f"{tarball}/{archive}")) > 1000
    assert defined_symbols(f"{prefix}/{archive}") == defined_symbols(f"{tarball}/{archive}")
    assert exported_symbols(f"{prefix}/{library}") == exported_symbols(f"{tarball}/{library}")


def test_both_are_linked_with_the_same_libraries(prefix, tarball):
    for name in ("lib/libstrata.so", "bin/strata"):
        assert needed(f"{prefix}/{name}") == needed(f"{tarball}/{name}"), name
    for package in ("strata", "strata-static"):
        flags = {
            place: {f for f in pkg_config(place, "--static", "--libs", package) if place not in f}
            for place in (prefix, tarball)
        }
        assert flags[prefix] == flags[tarball]


def test_the_installed_command_works(prefix):
    assert isinstance(json.loads(run(f"{prefix}/bin/strata", "ls", "--json")), (dict, list))


def test_programs_find_it_with_cmake(prefix, tmp_path):
    build = build_with_cmake(prefix, tmp_path)
    assert links_libstrata(f"{build}/consumer_shared")
    assert not links_libstrata(f"{build}/consumer_static")
    for program in ("consumer_shared", "consumer_static"):
        assert run(f"{build}/{program}", SEGMENT) == EXPECTED_OUTPUT


def test_programs_find_it_with_pkg_config(prefix, tmp_path):
    program = str(tmp_path / "consumer")
    flags = pkg_config(prefix, "--cflags", "--libs", "strata")
    run("g++", "-Wall", "-Werror", f"{HERE}/consumer.cc", "-o", program, *flags)
    assert run(program, SEGMENT, env=with_libraries_of(prefix)) == EXPECTED_OUTPUT


def test_a_program_in_c_builds_with_pkg_config(prefix, tmp_path):
    program = build_c_with_pkg_config(prefix, tmp_path)
    assert run(program, SEGMENT, env=with_libraries_of(prefix)) == EXPECTED_OUTPUT


def test_a_program_in_c_builds_with_cmake(prefix, tmp_path):
    assert run(build_c_with_cmake(prefix, tmp_path), SEGMENT) == EXPECTED_OUTPUT


def test_a_static_build_alone_serves_the_same_target(build, tmp_path):
    # In the same folder, so that nothing is compiled again.
    prefix = str(tmp_path / "installed")
    run("cmake", "-S", source_root(), "-B", build, "-DBUILD_SHARED_LIBS=OFF")
    run("cmake", "--build", build)
    run("cmake", "--install", build, "--prefix", prefix)
    libraries = {name for name in files_below(f"{prefix}/lib") if name.startswith("libstrata")}
    assert libraries == {"libstrata.a"}
    consumers = build_with_cmake(prefix, tmp_path)
    assert not links_libstrata(f"{consumers}/consumer_shared")
    assert run(f"{consumers}/consumer_shared", SEGMENT) == EXPECTED_OUTPUT
    flags = pkg_config(prefix, "--cflags", "--libs", "strata")
    run("g++", f"{HERE}/consumer.cc", "-o", str(tmp_path / "consumer"), *flags)
    assert run(str(tmp_path / "consumer"), SEGMENT) == EXPECTED_OUTPUT
