"""The Debian packages are built, installed into a new Debian, and used there.

It compiles the library once more and fetches a small Debian: ./check --all. Nothing is installed on
this machine. STRATA_DEBIAN_PACKAGES names a folder with packages that are there already.
"""

import glob
import os
import shutil
import subprocess

import pytest

from tests.package.new_debian import NewDebian, need
from tests.package.using import EXPECTED_OUTPUT, HERE, need_c_api, run, source_root

BINARY_PACKAGES = {"libstrata0.1", "libstrata-dev", "strata"}


@pytest.fixture(name="packages", scope="session")
def packages_fixture(tmp_path_factory):
    """The folder of the packages, built from a copy of the tree."""
    there = os.environ.get("STRATA_DEBIAN_PACKAGES")
    if there:
        return there
    need("dpkg-buildpackage", "dh", "cmake")
    folder = tmp_path_factory.mktemp("debian")
    source = folder / "strata"
    shutil.copytree(
        source_root(), source, ignore=shutil.ignore_patterns(".git", "bazel-*", "__pycache__")
    )
    shutil.copytree(source / "packaging" / "debian", source / "debian")
    missing = subprocess.run(
        ["dpkg-checkbuilddeps"], cwd=source, stderr=subprocess.PIPE, text=True, check=False
    )
    if missing.returncode != 0:
        pytest.skip(missing.stderr.strip())
    # The packages of debugging symbols take minutes, and nobody looks at them here.
    options = f"parallel={len(os.sched_getaffinity(0))} noautodbgsym"
    environment = dict(os.environ, DEB_BUILD_OPTIONS=options)
    log = run("dpkg-buildpackage", "-us", "-uc", "-b", cwd=source, env=environment)
    assert "100% tests passed" in log
    return str(folder)


def package_file(packages, name):
    found = glob.glob(f"{packages}/{name}_*_*.deb")
    assert len(found) == 1, found
    return found[0]


def test_the_packages_have_what_they_are_for(packages):
    built = {os.path.basename(name).split("_")[0] for name in glob.glob(f"{packages}/*.deb")}
    assert {name for name in built if not name.endswith("-dbgsym")} == BINARY_PACKAGES
    contents = {
        name: run("dpkg-deb", "--contents", package_file(packages, name))
        for name in BINARY_PACKAGES
    }
    assert "/libstrata.so.0.1\n" not in contents["libstrata-dev"]
    assert "/libstrata.so.0.1 -> libstrata.so.0.1." in contents["libstrata0.1"]
    assert "./usr/bin/strata\n" in contents["strata"]
    for name in ["include/strata/strata.h", "libstrata.a", "strataConfig.cmake", "strata.pc"]:
        assert f"/{name}\n" in contents["libstrata-dev"]
    depends = run("dpkg-deb", "--field", package_file(packages, "libstrata0.1"), "Depends")
    assert "libpmemobj1" in depends and "libstrata" not in depends


def test_lintian_finds_no_error(packages):
    need("lintian")
    changes = glob.glob(f"{packages}/*.changes")
    if not changes:
        pytest.skip(f"no .changes file in {packages}")
    run("lintian", "--allow-root", "--fail-on", "error", *changes)


@pytest.fixture(name="debian", scope="session")
def debian_fixture(packages, tmp_path_factory):
    """A Debian that has never seen Strata, with the packages in /packages and a mirror for apt."""
    root = str(tmp_path_factory.mktemp("chroot"))
    debian = NewDebian(root)
    os.mkdir(f"{root}/packages")
    for name in BINARY_PACKAGES:
        shutil.copy(package_file(packages, name), f"{root}/packages")
    os.mkdir(f"{root}/consumer")
    for name in ("CMakeLists.txt", "consumer.c", "consumer.cc"):
        shutil.copy(f"{HERE}/{name}", f"{root}/consumer")
    return debian


def test_the_command_alone_is_installed_and_used(debian):
    debian.run("apt-get install -q -y /packages/strata_*.deb")
    seen = debian.run(
        "printf hello | strata put - shm:greeting > /dev/null; strata cat shm:greeting;"
        "strata rm shm:greeting > /dev/null"
    )
    assert seen == "hello"
    assert "libstrata0.1" not in debian.run("dpkg-query -W -f '${Package} '")


@pytest.fixture(name="with_compilers", scope="session")
def with_compilers_fixture(debian):
    debian.run(
        "apt-get install -q -y g++ make cmake pkg-config"
        " /packages/libstrata0.1_*.deb /packages/libstrata-dev_*.deb"
    )
    return debian


def test_programs_are_built_with_pkg_config(with_compilers):
    debian = with_compilers
    # No directory is named: the compiler searches those of Debian.
    flags = debian.run("pkg-config --cflags --libs strata").split()
    assert flags == ["-std=c++20", "-lstrata"]
    debian.run("g++ /consumer/consumer.cc -o /linked $(pkg-config --cflags --libs strata)")
    assert debian.run("/linked shm:consumer") == EXPECTED_OUTPUT


def test_programs_in_c_are_built_with_pkg_config(with_compilers):
    debian = with_compilers
    need_c_api(f"{debian.root}/usr")
    debian.run("gcc -std=c99 /consumer/consumer.c -o /in_c $(pkg-config --cflags --libs strata-c)")
    assert debian.run("/in_c shm:consumer") == EXPECTED_OUTPUT


def test_programs_are_built_with_cmake(with_compilers):
    debian = with_compilers
    # A static link needs what is recommended.
    debian.run(
        "apt-get install -q -y $(dpkg-query -W -f '${Recommends}' libstrata-dev | tr -d ,)"
    )
    debian.run("cmake -S /consumer -B /build && cmake --build /build")
    for name in ("consumer_shared", "consumer_static"):
        assert debian.run(f"/build/{name} shm:consumer") == EXPECTED_OUTPUT


def test_nothing_stays_when_the_packages_go(with_compilers):
    debian = with_compilers
    debian.run("apt-get purge -q -y strata libstrata-dev libstrata0.1")
    assert debian.run("find / -xdev -path /packages -prune -o -name '*strata*' -print") == ""
