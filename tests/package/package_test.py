"""The tarball of //:package serves a C++ program that knows nothing of Bazel."""

import json
import os
import re
import shutil
import subprocess
import tarfile

import pytest

from tests.package.using import (
    EXPECTED_OUTPUT,
    HERE,
    SEGMENT,
    build_c_with_cmake,
    build_c_with_pkg_config,
    build_with_cmake,
    files_below,
    links_libstrata,
    needed,
    pkg_config,
    run,
    with_libraries_of,
)


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


def compile_consumer(prefix, tmp_path, *packages):
    program = str(tmp_path / "consumer")
    flags = pkg_config(prefix, "--cflags", "--libs", *packages)
    run("g++", "-Wall", "-Werror", f"{HERE}/consumer.cc", "-o", program, *flags)
    return program


def test_a_program_builds_with_pkg_config_and_the_shared_library(prefix, tmp_path):
    program = compile_consumer(prefix, tmp_path, "strata")
    assert links_libstrata(program)
    assert run(program, SEGMENT, env=with_libraries_of(prefix)) == EXPECTED_OUTPUT


def test_a_program_builds_with_pkg_config_and_the_static_library(prefix, tmp_path):
    program = compile_consumer(prefix, tmp_path, "strata-static")
    assert not links_libstrata(program)
    assert run(program, SEGMENT) == EXPECTED_OUTPUT


def test_the_command_has_its_manual_pages_and_completions_beside_it(prefix):
    pages = set(os.listdir(f"{prefix}/share/man/man1"))
    assert {"strata.1", "strata-ls.1", "strata-pool-check.1"} <= pages
    top = open(f"{prefix}/share/man/man1/strata.1").read()
    commands = re.findall(r"^ {2}([a-z]+) {2,}", run(f"{prefix}/bin/strata", "help"), flags=re.M)
    assert "ls" in commands and "pool" in commands
    for command in commands:
        assert f"strata-{command}.1" in pages
        assert command in top
    for name in (
        "bash-completion/completions/strata",
        "fish/vendor_completions.d/strata.fish",
        "zsh/site-functions/_strata",
    ):
        assert os.path.getsize(f"{prefix}/share/{name}") > 100
    completed = run(
        "bash", "-c",
        f"PATH={prefix}/bin:$PATH; source {prefix}/share/bash-completion/completions/strata; "
        "COMP_LINE='strata pool che' COMP_POINT=15 COMP_WORDS=(strata pool che) COMP_CWORD=2; "
        "$(complete -p strata | sed 's/.*-F \\([^ ]*\\).*/\\1/') strata che pool; "
        "echo ${COMPREPLY[@]}")  # fmt: skip
    assert completed.split() == ["check", "checkpoint"]


def test_a_static_link_is_told_by_pkg_config_all_that_libstrata_needs(prefix, tmp_path):
    flags = pkg_config(prefix, "--static", "--libs", "strata")
    library = f"{prefix}/lib/libstrata.a"
    program = str(tmp_path / "consumer")
    rest = [library if flag == "-lstrata" else flag for flag in flags]
    assert library in rest
    cflags = pkg_config(prefix, "--cflags", "strata")
    run("g++", *cflags, f"{HERE}/consumer.cc", "-o", program, *rest)
    assert run(program, SEGMENT) == EXPECTED_OUTPUT


def test_a_program_builds_with_cmake(prefix, tmp_path):
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    build = build_with_cmake(prefix, tmp_path)
    assert run(f"{build}/consumer_shared", SEGMENT) == EXPECTED_OUTPUT
    assert run(f"{build}/consumer_static", SEGMENT) == EXPECTED_OUTPUT
    assert links_libstrata(f"{build}/consumer_shared")
    assert not links_libstrata(f"{build}/consumer_static")


def test_a_program_in_c_builds_with_pkg_config(prefix, tmp_path):
    program = build_c_with_pkg_config(prefix, tmp_path)
    assert run(program, SEGMENT, env=with_libraries_of(prefix)) == EXPECTED_OUTPUT


def test_a_program_in_c_builds_with_cmake(prefix, tmp_path):
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    assert run(build_c_with_cmake(prefix, tmp_path), SEGMENT) == EXPECTED_OUTPUT


def test_cmake_refuses_another_minor_version(prefix, tmp_path):
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(old NONE)\n"
        "find_package(strata 0.0 REQUIRED)\n"
    )
    command = ["cmake", "-S", str(tmp_path), "-B", str(tmp_path), f"-DCMAKE_PREFIX_PATH={prefix}"]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode != 0
    assert 'compatible with requested version "0.0"' in " ".join(result.stderr.split())


def test_the_packaged_command_lists_segments_as_json(prefix):
    assert isinstance(json.loads(run(f"{prefix}/bin/strata", "ls", "--json")), (dict, list))


def test_the_installed_headers_are_those_of_the_list(prefix):
    with open(f"{HERE}/installed_headers.txt") as listed:
        expected = set(listed.read().split())
    found = files_below(f"{prefix}/include")
    assert found == expected, (
        "if this is meant: (cd include && find strata -name '*.h' | LC_ALL=C sort) "
        f"> {HERE}/installed_headers.txt"
    )


def test_the_libraries_name_no_directory_of_the_build(prefix):
    names = run("readelf", "-d", f"{prefix}/lib/libstrata.so")
    assert "RUNPATH" not in names and "RPATH" not in names


def test_the_examples_build_and_run(prefix, tmp_path):
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    shutil.copytree(f"{prefix}/examples", tmp_path / "examples")
    build = str(tmp_path / "build")
    run("cmake", "-S", str(tmp_path / "examples"), "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    targets = run("cmake", "--build", build, "--target", "help")
    names = [name[: -len(".cc")] for name in os.listdir(tmp_path / "examples") if ".cc" in name]
    assert names and all(name in targets for name in names)
    # One stands for all: //examples compiles and runs every one of them.
    run("cmake", "--build", build, "--target", "01_create_attach", "share_in_c")
    assert "hello from another process" in run(f"{build}/01_create_attach")
    assert "C makes the total 1\n" in run(f"{build}/share_in_c", SEGMENT)
    if "share_in_fortran" in targets:
        run("cmake", "--build", build, "--target", "share_in_fortran")
        assert "C added 1" in run(f"{build}/share_in_fortran", SEGMENT)
    run(f"{build}/share_in_c", SEGMENT, "remove")


def test_every_link_in_what_is_read_leads_somewhere(prefix):
    pages = [name for name in files_below(prefix) if name.endswith(".md")]
    assert {"README.md", "CHANGELOG.md", "docs/guides/sharing.md"} <= set(pages)
    dangling = []
    links = 0
    for page in pages:
        with open(f"{prefix}/{page}") as text:
            # Code is no text: it has brackets of its own.
            prose = re.sub(r"```.*?```|`[^`]*`|^    [^\n]*", "", text.read(), flags=re.S | re.M)
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
            if "://" in link:
                continue
            links += 1
            if not os.path.exists(f"{prefix}/{os.path.dirname(page)}/{link}"):
                dangling.append(f"{page}: {link}")
    assert dangling == []
    assert links > 20


def runtime_packages(prefix):
    with open(f"{prefix}/RUNTIME-PACKAGES") as listed:
        return dict(line.split() for line in listed if not line.startswith("#"))


def test_what_is_linked_is_what_runtime_packages_lists(prefix):
    linked = needed(f"{prefix}/lib/libstrata.so") | needed(f"{prefix}/bin/strata")
    assert set(runtime_packages(prefix)) == linked


def test_the_runtime_packages_are_those_that_have_the_libraries(prefix):
    if shutil.which("dpkg-query") is None:
        pytest.skip("no dpkg: this is no Debian")
    owners = {}
    for line in run("sh", "-c", "dpkg-query -S '*.so.*'").splitlines():
        packages, _, path = line.partition(": ")
        for package in packages.split(", "):
            owners.setdefault(os.path.basename(path), set()).add(package.split(":")[0])
    for library, package in runtime_packages(prefix).items():
        if library not in owners:
            pytest.skip(f"no package here has {library}: the list is that of another Debian")
        assert package in owners[library]
