"""The programs of docs/guides/c.md, as they stand there, on one segment."""

import os
import re
import shutil
import subprocess
import sys

import pytest

GUIDE = "docs/guides/c.md"
MODULE = os.path.abspath("examples/languages/strata.f90")
SEGMENT = f"shm:guide-{os.getpid()}"


def program(name):
    """The block of code after the line with its name."""
    with open(GUIDE) as guide:
        match = re.search(rf"^`{name}`\n\n((?:    .*\n|\n)+)", guide.read(), re.MULTILINE)
    text = re.sub("^    ", "", match.group(1), flags=re.MULTILINE)
    # What follows it is the command that compiles it.
    text = re.split(r"^(?:gcc|gfortran) ", text, flags=re.MULTILINE)[0]
    assert "shm:mesh" in text
    return text.replace("shm:mesh", SEGMENT)


def run(*command, place):
    environment = dict(os.environ, LD_LIBRARY_PATH=str(place), LIBRARY_PATH=str(place))
    result = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
    return result.stdout


@pytest.fixture(name="place", scope="module")
def place_fixture(tmp_path_factory):
    """A folder with the library and the sources, as a user has them."""
    place = tmp_path_factory.mktemp("guide")
    os.symlink(os.path.abspath("c/libstrata_c.so"), place / "libstrata.so")
    for name in ("first.c", "second.f90", "third.py"):
        (place / name).write_text(program(name))
    yield place
    # Where the last program did not come to it.
    forget = f"""import ctypes; strata = ctypes.CDLL("libstrata.so"); catalog = ctypes.c_void_p()
strata.strata_catalog_open(None, ctypes.byref(catalog))
strata.strata_catalog_remove(catalog, b"{SEGMENT}", None)"""
    run(sys.executable, "-c", forget, place=place)


def test_the_programs_of_the_guide_read_what_the_one_before_wrote(place):
    with open(GUIDE) as guide:
        commands = re.findall(r"^    ((?:gcc|gfortran) .*)$", guide.read(), re.MULTILINE)
    assert len(commands) == 2
    include = os.path.abspath("include")
    run("sh", "-c", f"{commands[0]} -I{include} -Wall -Wextra -Werror", place=place)
    run("./first", place=place)
    expected = "hello from C"
    if shutil.which("gfortran") is not None:
        shutil.copy(MODULE, place)
        run("sh", "-c", commands[1], place=place)
        assert run("./second", place=place) == f"Fortran reads: {expected}\n"
        expected = "hello from F"
    assert run(sys.executable, "third.py", place=place) == f"Python reads: {expected}\n"


def test_the_example_of_the_header_compiles(tmp_path):
    with open("include/strata/c.h") as header:
        comment = header.read().split("*/")[0]
    block = re.search(r"\n((?: \*     .*\n)+)", comment).group(1)
    code = re.sub(r"^ \*     ", "", block, flags=re.MULTILINE)
    source = tmp_path / "header.c"
    source.write_text(
        f"#include <stdio.h>\n#include <strata/c.h>\nint main(void) {{\n{code}return 0;\n}}\n"
    )
    flags = ["-std=c99", "-Wall", "-Werror", "-pedantic", f"-I{os.path.abspath('include')}"]
    run("gcc", *flags, "-fsyntax-only", str(source), place=tmp_path)
