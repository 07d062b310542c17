"""What <strata/c.h> declares is what exports.txt lists, and the library exports exactly that."""

import re
import shutil
import subprocess

import pytest

HEADER = "include/strata/c.h"
LIST = "c/exports.txt"
LIBRARY = "c/libstrata_c.so"
DECLARATION = re.compile(r"^STRATA_C_API\s[^;]*?\b(strata_[a-z0-9_]+)\s*\(", re.MULTILINE)


def declared():
    with open(HEADER) as header:
        text = re.sub(r"/\*.*?\*/", "", header.read(), flags=re.DOTALL)
    names = DECLARATION.findall(text)
    # Each use of the macro is one function: none was missed.
    assert len(names) == text.count("STRATA_C_API ") - text.count("#define STRATA_C_API ")
    return names


def listed():
    with open(LIST) as names:
        return names.read().splitlines()


def exported():
    out = subprocess.run(
        ["nm", "--dynamic", "--defined-only", LIBRARY], check=True, capture_output=True, text=True
    ).stdout
    return {line.split()[-1] for line in out.splitlines()}


def test_the_list_is_what_the_header_declares():
    assert listed() == sorted(declared())


def test_every_declared_function_is_exported():
    assert set(declared()) - exported() == set()


def test_nothing_of_this_prefix_is_exported_besides():
    assert {name for name in exported() if name.startswith("strata_")} - set(listed()) == set()


def compile_alone(tmp_path, compiler, flag, language):
    source = tmp_path / "alone"
    source.write_text(
        "#include <strata/c.h>\n#include <strata/c.h>\n"
        "int use(void);\nint use(void) { return strata_error_code() == STRATA_OK; }\n"
    )
    warnings = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    if language == "c":
        warnings.append("-Wstrict-prototypes")
    command = [compiler, flag, *warnings, "-fsyntax-only", "-Iinclude", "-x", language, source]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "compiler,standard,language",
    [
        ("gcc", "c99", "c"),
        ("gcc", "c11", "c"),
        ("gcc", "c17", "c"),
        ("g++", "c++11", "c++"),
        ("g++", "c++17", "c++"),
        ("g++", "c++20", "c++"),
        ("clang", "c99", "c"),
        ("clang++", "c++17", "c++"),
    ],
)
def test_the_header_compiles_alone(tmp_path, compiler, standard, language):
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    run = compile_alone(tmp_path, compiler, "-std=" + standard, language)
    assert run.returncode == 0, run.stderr


def test_the_header_includes_nothing_but_standard_c():
    with open(HEADER) as header:
        included = re.findall(r"^#include (.*)$", header.read(), re.MULTILINE)
    assert included == ["<stddef.h>", "<stdint.h>"]
