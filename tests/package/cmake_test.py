"""The build with CMake is that with Bazel: the same sources, versions and dependencies.

Nothing is compiled here but what CMake tries a compiler with; cmake_build_test.py builds it all.
"""

import json
import os
import re
import shutil
import subprocess

import pytest

from tests.package.using import HERE, run, source_root

ROOT = source_root()

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")


def configure(build, *flags, source=ROOT, **kwargs):
    """Configures, and returns CMake's own description of every target."""
    query = f"{build}/.cmake/api/v1/query"
    os.makedirs(query, exist_ok=True)
    with open(f"{query}/codemodel-v2", "w"):
        pass
    run("cmake", "-S", source, "-B", str(build), *flags, **kwargs)
    replies = f"{build}/.cmake/api/v1/reply"
    targets = {}
    for name in os.listdir(replies):
        if name.startswith("target-"):
            with open(f"{replies}/{name}") as reply:
                target = json.load(reply)
            targets[target["name"]] = target
    return targets


@pytest.fixture(name="build", scope="module")
def build_fixture(tmp_path_factory):
    return tmp_path_factory.mktemp("build")


@pytest.fixture(name="targets", scope="module")
def targets_fixture(build):
    return configure(build)


def sources_in_cmake(target):
    """The .cc files that a target compiles, but for what the build itself writes."""
    return {
        source["path"]
        for source in target["sources"]
        if source["path"].endswith(".cc") and not source["path"].startswith("/")
    }


def sources_in_bazel(name):
    with open(f"{HERE}/{name}") as labels:
        paths = {line.strip().replace("//:", "//").lstrip("/").replace(":", "/") for line in labels}
    return {path for path in paths if path.endswith(".cc") and not path.startswith("@")}


def test_cmake_and_bazel_compile_the_same_sources(targets):
    library = sources_in_bazel("library_sources")
    command = sources_in_bazel("command_sources")
    assert len(library) > 100
    assert sources_in_cmake(targets["strata_objects"]) == library
    assert sources_in_cmake(targets["strata_command"]) == command - library


def test_the_source_of_every_installed_header_is_in_the_library(targets):
    public = f"{ROOT}/include/strata"
    sources = {
        os.path.relpath(os.path.join(folder, name), public)[: -len(".h")] + ".cc"
        for folder, _, names in os.walk(public)
        for name in names
    } - {"base/step.cc"}  # what tests count steps with
    sources = {source for source in sources if os.path.exists(f"{ROOT}/{source}")}
    assert len(sources) > 20
    assert sources - sources_in_cmake(targets["strata_objects"]) == set()


def installed_libraries(targets):
    return {
        name
        for name, target in targets.items()
        if target["type"].endswith("_LIBRARY") and "install" in target
    }


def test_both_libraries_are_installed_unless_one_is_asked_for(targets, tmp_path):
    assert installed_libraries(targets) == {"strata_shared", "strata_static"}
    shared = configure(tmp_path / "on", "-DBUILD_SHARED_LIBS=ON")
    assert installed_libraries(shared) == {"strata_shared"}
    static = configure(tmp_path / "off", "-DBUILD_SHARED_LIBS=OFF")
    assert installed_libraries(static) == {"strata_static"}


def test_a_project_can_take_it_as_a_folder(tmp_path):
    (tmp_path / "main.cc").write_text("int main() {}\n")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(user CXX)\n"
        f"add_subdirectory({ROOT} strata)\n"
        "add_executable(user main.cc)\ntarget_link_libraries(user strata::strata)\n"
    )
    targets = configure(tmp_path / "build", source=str(tmp_path))
    includes = [i["path"] for group in targets["user"]["compileGroups"] for i in group["includes"]]
    assert includes == [f"{ROOT}/include"]
    # It brings no program and installs nothing with the project that took it.
    assert "strata_command" not in targets
    assert not any("install" in target for target in targets.values())


def test_what_is_missing_is_named_with_its_debian_package(tmp_path):
    result = subprocess.run(
        ["cmake", "-S", ROOT, "-B", str(tmp_path)],
        env=dict(os.environ, PKG_CONFIG_LIBDIR="/nowhere", PKG_CONFIG_PATH=""),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    message = " ".join(result.stderr.split())
    assert result.returncode != 0
    assert (
        "missing here: libpmem2, libpmemobj, libpmempool, hwloc, fmt, libxxhash; "
        "on Debian: apt-get install libpmem2-dev libpmemobj-dev libpmempool-dev libhwloc-dev "
        "libfmt-dev libxxhash-dev."
    ) in message


def read(path):
    with open(f"{ROOT}/{path}") as text:
        return text.read()


def said_version(path, pattern):
    found = re.findall(pattern, read(path), flags=re.MULTILINE)
    assert len(found) == 1, f"{path}: {found}"
    return found[0]


def test_every_place_that_says_a_version_says_that_of_the_header(targets, build):
    assert targets
    header = said_version("include/strata/version.h", r'define STRATA_VERSION_STRING "(.*)"')
    parts = re.findall(r"VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", read("include/strata/version.h"))
    series = ".".join(parts[:2])
    assert header == ".".join(parts)
    assert said_version("include/strata/version.h", r"inline v(\w+) ") == series.replace(".", "_")
    assert said_version("bazel/version.bzl", r'^STRATA_VERSION = "(.*)"') == header
    assert said_version("MODULE.bazel", r'name = "strata",\s*version = "(.*)"') == header
    assert read("CHANGELOG.md").split("## ")[1].startswith(header)
    assert said_version("examples/CMakeLists.txt", r"find_package\(strata (\S+)") == series
    with open(build / "CMakeCache.txt") as cache:
        assert f"CMAKE_PROJECT_VERSION:STATIC={header}\n" in cache.read()
