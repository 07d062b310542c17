"""`pip install` gives a package that imports, shares, and runs the command, with nothing beside it.

Only the bindings are compiled here, against the tarball: python_wheel_test.py builds all of it.
"""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
import zipfile

import pytest

from tests.package.python_using import (
    BUILD_TOOLS,
    NUMPY,
    TYPE_CHECKERS,
    Environment,
    build_wheel,
    readme_lines,
    tree_of,
)
from tests.package.using import HERE, exported_symbols, needed, run, source_root, unpack_tarball

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")


@pytest.fixture(name="wheel", scope="session")
def wheel_fixture(tmp_path_factory):
    prefix = unpack_tarball(tmp_path_factory.mktemp("prefix"))
    return build_wheel(str(tmp_path_factory.mktemp("built")), prefix)


@pytest.fixture(name="installed", scope="session")
def installed_fixture(wheel, tmp_path_factory):
    return Environment(str(tmp_path_factory.mktemp("environment")), wheel)


@pytest.fixture(name="uri")
def uri_fixture(installed):
    uri = "shm:python-install-%s" % uuid.uuid4().hex
    yield uri
    installed.run("import strata, sys; strata.ls('%s') and strata.remove('%s')" % (uri, uri))


def test_the_wheel_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        text = archive.read(metadata).decode()
        names = set(archive.namelist())
    version = re.search(
        'STRATA_VERSION_STRING "(.*)"', open(f"{source_root()}/include/strata/version.h").read()
    ).group(1)
    interpreter = "cp%d%d" % sys.version_info[:2]
    assert os.path.basename(wheel).startswith(f"strata-{version}-{interpreter}-{interpreter}-")
    for line in (f"Version: {version}", "License-Expression: BSD-3-Clause", "Requires-Python: >=3.11"):
        assert f"{line}\n" in text
    assert "Requires-Dist" not in re.sub("Requires-Dist: .*; extra ==.*", "", text)
    for name in ("py.typed", "__init__.pyi", "_core.pyi", "_command/strata"):
        assert f"strata/{name}" in names


def test_the_lines_of_the_readme_run(installed, uri):
    code = readme_lines()
    assert '"shm:mesh"' in code
    printed = installed.run(code.replace("shm:mesh", uri), tree_of("numpy-2.2.6", NUMPY))
    assert printed == "2.5\n"


def test_the_command_comes_along(installed):
    version = installed.run("import strata; print(strata.__version__)").strip()
    assert run(f"{installed.place}/bin/strata", "--version") == f"strata {version}\n"
    listed = run(installed.python, "-m", "strata", "ls", "--json", env=installed.environment())
    assert isinstance(json.loads(listed), (dict, list))


def test_the_command_tells_how_it_ended(installed):
    failed, said = installed.failing(
        installed.python, "-m", "strata", "info", "shm:python-install-none"
    )
    assert failed and "shm:python-install-none" in said


def test_all_names_are_there_without_numpy(installed):
    found = installed.run(
        "import strata, sys\n"
        "names = [getattr(strata, name) for name in strata.__all__]\n"
        "print(len(names), 'numpy' in sys.modules)"
    )
    count, has_numpy = found.split()
    assert int(count) > 20 and has_numpy == "False"


def test_without_numpy_an_array_says_how_to_get_it(installed, uri):
    found = installed.run(
        "import strata, sys\n"
        "with strata.create('%s', 8, 'float64') as segment:\n"
        "    segment.view()[2] = 1.5\n"
        "    print(segment.view()[2], segment.dtype)\n"
        "    try:\n"
        "        segment.array()\n"
        "    except ImportError as error:\n"
        "        print(error.name, error)\n" % uri
    )
    assert found.startswith("1.5 <f8\nnumpy arrays need NumPy")
    assert "pip install numpy" in found and "apt-get install python3-numpy" in found


def test_neither_import_nor_memory_needs_pmdk(installed, tmp_path, uri):
    # Files that the dynamic linker finds first, and which are no libraries.
    for name in ("libpmem.so.1", "libpmem2.so.1", "libpmemobj.so.1", "libpmempool.so.1"):
        (tmp_path / name).write_text("")
    found = installed.run(
        "import strata\n"
        "segment = strata.create('%s', size=4096)\n"
        "segment.write(b'hello')\n"
        "print(strata.attach('%s', 'r').read(0, 5))\n"
        "try:\n"
        "    strata.attach('pmem:/nowhere/pool#x')\n"
        "except ImportError as error:\n"
        "    print(error)\n" % (uri, uri),
        LD_LIBRARY_PATH=str(tmp_path),
    )
    assert found.startswith("b'hello'\n")
    assert "libpmem2.so.1" in found
    assert "apt-get install libpmem2-1 libpmemobj1 libpmempool1" in found


def module_file(installed, name):
    (path,) = glob.glob(f"{installed.package}/{name}.*so")
    return path


def test_only_pools_are_linked_with_pmdk(installed):
    def of_pmdk(name):
        linked = needed(module_file(installed, name))
        return {library.split(".")[0] for library in linked if library.startswith("libpmem")}

    assert of_pmdk("_core") == set()
    assert of_pmdk("_pmdk") == {"libpmem2", "libpmemobj", "libpmempool"}


def test_a_module_shows_how_it_is_initialised_and_no_other_name(installed):
    for name in ("_core", "_pmdk"):
        assert exported_symbols(module_file(installed, name)) == {"PyInit_" + name}


def test_the_installed_files_name_no_directory_of_the_build(installed):
    for name in ("_core", "_pmdk"):
        names = run("readelf", "-d", module_file(installed, name))
        assert "RUNPATH" not in names and "RPATH" not in names


def checker(installed, module, *arguments):
    trees = (tree_of("mypy-2.4.1", TYPE_CHECKERS), tree_of("numpy-2.2.6", NUMPY))
    return installed.failing(installed.python, "-m", module, *arguments, trees=trees)


@pytest.fixture(name="mypy_cache", scope="session")
def mypy_cache_fixture(tmp_path_factory):
    return str(tmp_path_factory.mktemp("mypy"))


def test_mypy_finds_nothing_in_the_package(installed, mypy_cache):
    failed, said = checker(installed, "mypy", "--cache-dir", mypy_cache, "-p", "strata")
    assert not failed, said


def test_the_stubs_are_what_the_modules_have(installed):
    allowed = f"{os.getcwd()}/{HERE}/stubtest_allowed.txt"
    failed, said = checker(
        installed, "mypy.stubtest", "--concise", "--ignore-disjoint-bases",
        "--ignore-unused-allowlist", "--allowlist", allowed, "strata",
    )  # fmt: skip
    assert not failed, said


def test_type_checkers_know_what_users_write(installed, mypy_cache, tmp_path):
    (tmp_path / "user.py").write_text(
        "import strata\n"
        "segment = strata.create('shm:x', (3, 4), 'float64')\n"
        "reveal_type(segment)\n"
        "reveal_type(segment.shape)\n"
        "reveal_type(strata.attach('shm:x', 'r').nbytes)\n"
        "try:\n"
        "    strata.remove('shm:x', force=True)\n"
        "except strata.NotFoundError as error:\n"
        "    reveal_type(error.code)\n"
        "strata.attach('shm:x', mode=3)\n"
    )
    failed, said = checker(
        installed, "mypy", "--strict", "--cache-dir", mypy_cache, f"{tmp_path}/user.py"
    )
    revealed = re.findall('Revealed type is "(.*)"', said)
    assert [name.replace("builtins.", "") for name in revealed] == [
        "strata._core.Segment", "tuple[int, ...]", "int", "str",
    ]  # fmt: skip
    assert failed and len(re.findall(" error: ", said)) == 1
    assert '"mode" to "attach" has incompatible type' in said


def configure(tmp_path, *flags, **environment):
    """What CMake says when it fails, in one line."""
    tools = tree_of("python-build-tools", BUILD_TOOLS)
    done = subprocess.run(
        ["cmake", "-S", f"{source_root()}/python", "-B", str(tmp_path / "build"),
         f"-DPython_EXECUTABLE={sys.executable}", *flags],
        env={**os.environ, "PYTHONPATH": tools, **environment},
        stderr=subprocess.PIPE, text=True, check=False)  # fmt: skip
    assert done.returncode != 0
    return " ".join(done.stderr.split())


def test_a_missing_compiler_is_named_with_its_debian_package(wheel, tmp_path):
    assert wheel
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("make", "pkg-config"):
        if shutil.which(name):
            (programs / name).symlink_to(os.path.realpath(shutil.which(name)))
    (programs / "cmake").symlink_to(os.path.realpath(shutil.which("cmake")))
    said = configure(tmp_path, PATH=str(programs), CXX="", CC="")
    assert "on Debian: apt-get install g++" in said


def test_missing_headers_of_python_are_named_with_their_debian_package(wheel, tmp_path):
    assert wheel
    said = configure(tmp_path, "-DPython_INCLUDE_DIR=/nowhere")
    assert "Python.h" in said and "on Debian: apt-get install python3-dev" in said


def test_missing_libraries_are_named_with_their_debian_packages(wheel, tmp_path):
    assert wheel
    said = configure(tmp_path, PKG_CONFIG_LIBDIR="/nowhere", PKG_CONFIG_PATH="")
    assert "on Debian: apt-get install libpmem2-dev libpmemobj-dev" in said


def test_a_missing_nanobind_is_named(tmp_path):
    said = configure(tmp_path, PYTHONPATH="")
    assert "pip install nanobind scikit-build-core" in said
