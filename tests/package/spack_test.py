"""Spack's recipe says what the build with CMake takes.

Where there is no Spack, the recipe runs against stand-ins that write down what it declares: that
shows what it says, and not that Spack's own packages fit.
"""

import os
import re
import shutil
import sys
import types

import pytest

from tests.package.using import run, source_root

ROOT = source_root()
REPOSITORY = f"{ROOT}/packaging/spack/spack_repo/strata"

# What pkg-config and headers are called in cmake/dependencies.cmake, and in Spack.
SPACK_NAMES = {
    "libpmem2": "pmdk",
    "libpmemobj": "pmdk",
    "libpmempool": "pmdk",
    "hwloc": "hwloc",
    "fmt": "fmt",
    "libxxhash": "xxhash",
    "Boost": "boost",
    "CLI11": "cli11",
    "nlohmann-json": "nlohmann-json",
}


class Spec:
    """A concrete spec: satisfies() knows of the variants that a test gave it."""

    def __init__(self, *said):
        self.said = said

    def satisfies(self, what):
        return what in self.said


def read(path):
    with open(f"{ROOT}/{path}") as text:
        return text.read()


@pytest.fixture(name="recipe")
def recipe_fixture(monkeypatch):
    """The class of the recipe, and what it declared."""
    declared = {}
    directives = ["license", "version", "variant", "depends_on", "conflicts", "run_after"]

    def directive(name):
        def note(*args, **kwargs):
            declared.setdefault(name, []).append((args, kwargs))
            return lambda function: function

        return note

    class CMakePackage:
        def define(self, name, value):
            return (name, value)

        def define_from_variant(self, name, variant):
            return (name, f"+{variant}")

    package = types.ModuleType("spack.package")
    for name in directives:
        setattr(package, name, directive(name))
    cmake = types.ModuleType("spack_repo.builtin.build_systems.cmake")
    cmake.CMakePackage = CMakePackage
    for name in ("spack", "spack_repo", "spack_repo.builtin", "spack_repo.builtin.build_systems"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, cmake.__name__, cmake)
    module = {}
    path = f"{REPOSITORY}/packages/strata/package.py"
    with open(path) as source:
        exec(compile(source.read(), path, "exec"), module)
    return module["Strata"], declared


def test_the_recipe_has_the_version_and_license_of_the_tree(recipe):
    version = re.search(r'STRATA_VERSION_STRING "(.*)"', read("include/strata/version.h")).group(1)
    _, declared = recipe
    assert (version,) in [args for args, _ in declared["version"]]
    with open(f"{REPOSITORY}/packages/strata/package.py") as recipe_text:
        assert f"strata@{version}\n" in recipe_text.read()
    assert declared["license"] == [(("BSD-3-Clause",), {})]
    assert read("LICENSE").startswith("BSD 3-Clause License")


def test_the_recipe_depends_on_what_cmake_looks_for(recipe):
    _, declared = recipe
    names = {re.split("[@ +~]", args[0])[0] for args, _ in declared["depends_on"]}
    lists = read("cmake/dependencies.cmake")
    looked_for = set(re.findall(r'^ +"([a-z0-9]+)=lib', lists, re.M))
    looked_for |= set(re.findall(r'^ +"[^"=]+[.]hpp=([^=]+)=', lists, re.M))
    assert looked_for == set(SPACK_NAMES)
    of_tools = {"cxx", "cmake", "pkgconfig", "cuda"}
    assert names == set(SPACK_NAMES.values()) | of_tools


def test_the_recipe_sets_options_that_cmake_has(recipe):
    strata, _ = recipe
    package = strata()
    package.run_tests = True
    options = set(re.findall(r"option\((\w+)", read("CMakeLists.txt"))) | {"BUILD_SHARED_LIBS"}
    for said, shared in [
        (["libs=shared,static", "libs=shared", "libs=static"], None),
        (["libs=shared"], True),
        (["libs=static"], False),
    ]:
        package.spec = Spec(*said)
        args = dict(package.cmake_args())
        assert set(args) <= options
        assert args["STRATA_BUILD_COMMAND"] == "+command"
        assert args["STRATA_BUILD_TESTS"] is True
        assert args.get("BUILD_SHARED_LIBS") is shared


def test_what_the_recipe_tests_with_is_there(recipe):
    assert recipe
    assert os.path.exists(f"{ROOT}/tests/package/CMakeLists.txt")
    assert "add_executable(consumer_shared" in read("tests/package/CMakeLists.txt")


def test_spack_itself_reads_the_recipe():
    spack = shutil.which("spack")
    if spack is None:
        pytest.skip("spack is not installed")
    shown = run(spack, "--config", f"repos:strata:{REPOSITORY}", "info", "strata")
    assert "BSD-3-Clause" in shown
