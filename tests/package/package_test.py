"""The tarball of //:package serves a C++ program that knows nothing of Bazel."""

import json
import os
import re
import shutil
import subprocess
import tarfile

import pytest

HERE = "tests/package"
EXPECTED_OUTPUT = "hello from another mapping\n"
SEGMENT = f"shm:package_test_{os.getpid()}"


def run(*command, **kwargs):
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **kwargs
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}"
    return result.stdout


@pytest.fixture(name="tarball", scope="session")
def tarball_fixture():
    found = [name for name in os.listdir(".") if name.endswith(".tar.gz")]
    assert len(found) == 1
    return found[0]


@pytest.fixture(name="prefix", scope="session")
def prefix_fixture(tarball, tmp_path_factory):
    # Not where it was built: the package must work from any place.
    place = tmp_path_factory.mktemp("installed")
    with tarfile.open(tarball) as tar:
        tar.extractall(place)
    return str(place / tarball[: -len(".tar.gz")])


def pkg_config(prefix, *args):
    environment = dict(os.environ, PKG_CONFIG_PATH=f"{prefix}/lib/pkgconfig")
    return run("pkg-config", *args, env=environment).split()


def compile_consumer(prefix, tmp_path, package):
    program = str(tmp_path / "consumer")
    flags = pkg_config(prefix, "--cflags", "--libs", package)
    run("g++", "-std=c++20", "-Wall", "-Werror", f"{HERE}/consumer.cc", "-o", program, *flags)
    return program


def links_libstrata(program):
    return "NEEDED" in run("sh", "-c", f"readelf -d {program} | grep libstrata || true")


def test_a_program_builds_with_pkg_config_and_the_shared_library(prefix, tmp_path):
    program = compile_consumer(prefix, tmp_path, "strata")
    assert links_libstrata(program)
    environment = dict(os.environ, LD_LIBRARY_PATH=f"{prefix}/lib")
    assert run(program, SEGMENT, env=environment) == EXPECTED_OUTPUT


def test_a_program_builds_with_pkg_config_and_the_static_library(prefix, tmp_path):
    program = compile_consumer(prefix, tmp_path, "strata-static")
    assert not links_libstrata(program)
    assert run(program, SEGMENT) == EXPECTED_OUTPUT


def test_a_program_builds_with_cmake(prefix, tmp_path):
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    for name in ("consumer.cc", "CMakeLists.txt"):
        shutil.copy(f"{HERE}/{name}", tmp_path)
    build = str(tmp_path / "build")
    run("cmake", "-S", str(tmp_path), "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", build)
    assert run(f"{build}/consumer_shared", SEGMENT) == EXPECTED_OUTPUT
    assert run(f"{build}/consumer_static", SEGMENT) == EXPECTED_OUTPUT
    assert links_libstrata(f"{build}/consumer_shared")
    assert not links_libstrata(f"{build}/consumer_static")


def test_cmake_refuses_another_minor_version(prefix, tmp_path):
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(old NONE)\nfind_package(strata 0.0 REQUIRED)\n"
    )
    command = ["cmake", "-S", str(tmp_path), "-B", str(tmp_path), f"-DCMAKE_PREFIX_PATH={prefix}"]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode != 0
    assert 'compatible with requested version "0.0"' in " ".join(result.stderr.split())


def test_the_packaged_command_lists_segments_as_json(prefix):
    assert isinstance(json.loads(run(f"{prefix}/bin/strata", "ls", "--json")), (dict, list))


def test_the_libraries_name_no_directory_of_the_build(prefix):
    names = run("readelf", "-d", f"{prefix}/lib/libstrata.so")
    assert "RUNPATH" not in names and "RPATH" not in names


def test_the_versions_agree(tarball):
    with open("MODULE.bazel") as module:
        version = re.search(r'version = "([^"]+)"', module.read()).group(1)
    assert tarball == f"strata-{version}.tar.gz"
