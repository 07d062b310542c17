"""What the installed headers and the shared library offer to a program, and what they keep back."""

import os
import re
import subprocess
import tarfile

import pytest

SERIES = "v0_1"
# Each needs a library of others; //gpu/interop:published_test and //heap:containers_test use them.
NEEDS_OTHERS = {"strata/gpu/interop/memory_resource.h", "strata/heap/containers.h"}
# What a name may be preceded by in the words of c++filt.
WRAPPERS = re.compile(
    r"^((typeinfo name|typeinfo|vtable|VTT|guard variable|construction vtable) for "
    r"|(virtual|non-virtual) thunk to |covariant return thunk to )"
)


@pytest.fixture(name="prefix", scope="session")
def prefix_fixture(tmp_path_factory):
    (tarball,) = [name for name in os.listdir(".") if name.endswith(".tar.gz")]
    place = tmp_path_factory.mktemp("installed")
    with tarfile.open(tarball) as tar:
        tar.extractall(place)
    return place / tarball[: -len(".tar.gz")]


def compile_text(prefix, tmp_path, text, *flags, standard="c++20"):
    is_c = not standard.startswith("c++")
    source = tmp_path / ("program.c" if is_c else "program.cc")
    source.write_text(text)
    command = ["gcc" if is_c else "g++", f"-std={standard}", "-Wall", "-Wextra", "-Werror", *flags]
    command += ["-I", str(prefix / "include"), str(source)]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def installed_headers(prefix):
    include = prefix / "include"
    return sorted(str(path.relative_to(include)) for path in include.rglob("*.h"))


def exported_names(prefix):
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", "--demangle", str(prefix / "lib/libstrata.so")],
        stdout=subprocess.PIPE, text=True, check=True).stdout  # fmt: skip
    for line in listing.splitlines():
        kind, name = re.fullmatch(r"[0-9a-f]* +(\w) (.*)", line).groups()
        if kind != "A":  # a version of the script
            yield re.sub(r"@.*", "", name) if name.startswith("strata_") else name


def test_the_library_exports_the_api_and_nothing_of_others(prefix):
    names = list(exported_names(prefix))
    assert f"strata::{SERIES}::open_catalog(strata::{SERIES}::CatalogOptions const&)" in [
        re.sub(r"@.*", "", name) for name in names
    ]
    foreign = []
    for name in names:
        plain = WRAPPERS.sub("", name)
        if not plain.startswith((f"strata::{SERIES}::", "strata_")):
            foreign.append(name)
    assert foreign == []
    assert [name for name in names if re.search(r"\b(fmt|boost|tl|nlohmann|CLI)::", name)] == []


def test_the_functions_of_c_are_exported_under_a_version_of_their_own(prefix):
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", "--with-symbol-versions", str(prefix / "lib/libstrata.so")],
        stdout=subprocess.PIPE, text=True, check=True).stdout  # fmt: skip
    names = [line.split()[-1] for line in listing.splitlines()]
    with open("c/exports.txt") as functions:
        expected = [f"{name}@@STRATA_C_1" for name in functions.read().split()]
    assert sorted(name for name in names if name.startswith("strata_")) == expected


def test_nothing_that_stands_behind_the_api_is_exported(prefix):
    inside = re.compile(rf"^strata::{SERIES}::(RealOs|FaultOs|HeapCore|TransactionLog|PoolFile|Domain|"
                        r"ObjectPool|cuda::Driver|NamedFiles|ShmBackend)::")  # fmt: skip
    assert [name for name in exported_names(prefix) if inside.search(name)] == []


def test_an_error_that_nobody_reads_does_not_compile(prefix, tmp_path):
    program = """#include <strata/strata.h>
        void forget(strata::Catalog& catalog) { catalog.remove("shm:x"); }"""
    ignored = compile_text(prefix, tmp_path, program, "-fsyntax-only")
    assert ignored.returncode != 0
    assert "nodiscard" in ignored.stdout
    meant = program.replace("catalog.remove", "(void)catalog.remove")
    assert compile_text(prefix, tmp_path, meant, "-fsyntax-only").returncode == 0


def test_an_older_standard_is_refused_in_words(prefix, tmp_path):
    old = compile_text(
        prefix, tmp_path, "#include <strata/strata.h>\n", "-fsyntax-only", standard="c++17"
    )
    assert old.returncode != 0
    assert "Strata needs C++20" in old.stdout


def test_every_installed_header_compiles_alone(prefix, tmp_path):
    headers = [name for name in installed_headers(prefix) if name not in NEEDS_OTHERS]
    assert "strata/strata.h" in headers
    for header in headers:
        alone = compile_text(prefix, tmp_path, f"#include <{header}>\n", "-fsyntax-only")
        assert alone.returncode == 0, alone.stdout


def test_one_include_has_all_of_the_api(prefix, tmp_path):
    marked = compile_text(prefix, tmp_path, "#include <strata/strata.h>\n", "-E").stdout
    included = set(re.findall(r'^# \d+ "[^"]*/include/(strata/[^"]+)"', marked, flags=re.M))
    assert set(installed_headers(prefix)) - included == NEEDS_OTHERS | {"strata/c.h"}


def test_one_include_costs_little_more_than_the_standard_headers_that_it_needs(prefix, tmp_path):
    def lines_of(text):
        done = compile_text(prefix, tmp_path, text, "-E", "-P")
        assert done.returncode == 0
        return len(done.stdout.splitlines())

    everything = "#include <strata/strata.h>\n"
    marked = compile_text(prefix, tmp_path, everything, "-E").stdout
    ours = set(re.findall(r'^# \d+ "([^"]*include/strata/[^"]+)"', marked, flags=re.M))
    needed = set()
    for path in ours:
        with open(path) as header:
            needed.update(re.findall(r"^#\s*include (<[^>]+>)", header.read(), flags=re.M))
    assert "<boost/container/vector.hpp>" not in needed
    standard = "".join(f"#include {name}\n" for name in sorted(needed))
    assert lines_of(everything) - lines_of(standard) <= 10_000


@pytest.mark.parametrize("language, standard", [("cpp", "c++20"), ("c", "c99")])
def test_the_snippets_of_the_readme_compile_as_they_stand(prefix, tmp_path, language, standard):
    with open("README.md") as readme:
        snippets = re.findall(f"```{language}\n(.*?)```", readme.read(), flags=re.S)
    assert snippets
    compiled = compile_text(
        prefix, tmp_path, "\n".join(snippets), "-fsyntax-only", standard=standard
    )
    assert compiled.returncode == 0, compiled.stdout
