"""One segment, shared by programs in C, Fortran and Python: each reads what the others wrote."""

import os
import re
import shutil
import subprocess
import sys

import pytest

HERE = "examples/languages"
LIBRARY = os.path.abspath("c/libstrata_c.so")
SEGMENT = f"shm:languages-{os.getpid()}"


def run(*command, **kwargs):
    result = subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
    return result.stdout.splitlines()


def link_flags():
    # As -lstrata does for the installed library.
    return [LIBRARY, f"-Wl,-rpath,{os.path.dirname(LIBRARY)}"]


@pytest.fixture(name="c_program", scope="module")
def c_program_fixture(tmp_path_factory):
    program = str(tmp_path_factory.mktemp("c") / "share")
    warnings = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    run("gcc", *warnings, "-Iinclude", f"{HERE}/share.c", "-o", program, *link_flags())
    return [program]


@pytest.fixture(name="fortran_program", scope="module")
def fortran_program_fixture(tmp_path_factory):
    if shutil.which("gfortran") is None:
        pytest.skip("there is no gfortran")
    place = tmp_path_factory.mktemp("fortran")
    program = str(place / "share")
    sources = [os.path.abspath(f"{HERE}/{name}.f90") for name in ("strata", "share")]
    flags = ["-std=f2008", "-Wall", "-Wextra", "-Werror"]
    run("gfortran", *flags, *sources, "-o", program, *link_flags(), cwd=place)
    return [program]


@pytest.fixture(name="python_program", scope="module")
def python_program_fixture():
    return [sys.executable, f"{HERE}/share.py"]


@pytest.fixture(name="ledger")
def ledger_fixture(c_program):
    yield SEGMENT
    subprocess.run([*c_program, SEGMENT, "remove"], check=True)


def share(program, uri):
    return run(*program, uri, env=dict(os.environ, STRATA_LIBRARY=LIBRARY))


def test_c_and_python_read_what_each_other_wrote(ledger, c_program, python_program):
    assert share(c_program, ledger) == ["C makes the total 1"]
    assert share(python_program, ledger) == ["Python reads: C added 1", "Python makes the total 3"]
    assert share(c_program, ledger) == [
        "C reads: C added 1",
        "C reads: Python added 2",
        "C makes the total 6",
    ]


def test_c_fortran_and_python_read_what_each_other_wrote(
    ledger, c_program, fortran_program, python_program
):
    assert share(c_program, ledger) == ["C makes the total 1"]
    assert share(fortran_program, ledger) == [
        "Fortran reads: C added 1",
        "Fortran makes the total 3",
    ]
    assert share(python_program, ledger) == [
        "Python reads: C added 1",
        "Python reads: Fortran added 2",
        "Python makes the total 6",
    ]
    assert share(fortran_program, ledger)[-2:] == [
        "Fortran reads: Python added 3",
        "Fortran makes the total 10",
    ]


@pytest.mark.parametrize("language", ["fortran", "python"])
def test_what_is_not_there_is_told_in_words(language, request):
    program = request.getfixturevalue(f"{language}_program")
    result = subprocess.run(
        [*program, "shm:languages-nowhere"],
        env=dict(os.environ, STRATA_LIBRARY=LIBRARY),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "shm:languages-nowhere" in result.stderr


TYPES = [
    "strata_mutex",
    "strata_event",
    "strata_create_options",
    "strata_attach_options",
    "strata_type",
]


def test_the_types_of_fortran_are_as_large_as_those_of_c(tmp_path):
    if shutil.which("gfortran") is None:
        pytest.skip("there is no gfortran")
    prints = "".join(f'  printf("%zu\\n", sizeof({name}));\n' for name in TYPES)
    (tmp_path / "sizes.c").write_text(
        f"#include <stdio.h>\n#include <strata/c.h>\nint main(void) {{\n{prints}  return 0;\n}}\n"
    )
    variables = "".join(f"  type({name}) :: v{i}\n" for i, name in enumerate(TYPES))
    prints = "".join(f"  print '(i0)', c_sizeof(v{i})\n" for i, _ in enumerate(TYPES))
    (tmp_path / "sizes.f90").write_text(
        "program sizes\n  use, intrinsic :: iso_c_binding\n  use strata\n  implicit none\n"
        f"{variables}{prints}end program\n"
    )
    module = os.path.abspath(f"{HERE}/strata.f90")
    include = os.path.abspath("include")
    run("gcc", "-std=c99", f"-I{include}", "sizes.c", "-o", "in_c", cwd=tmp_path)
    run("gfortran", module, "sizes.f90", "-o", "in_fortran", *link_flags(), cwd=tmp_path)
    sizes = run(str(tmp_path / "in_c"))
    assert len(sizes) == len(TYPES)
    assert run(str(tmp_path / "in_fortran")) == sizes


def test_the_functions_and_codes_of_fortran_are_those_of_c():
    with open(f"{HERE}/strata.f90") as module:
        text = module.read()
    with open("include/strata/c.h") as header:
        declared = header.read()
    functions = re.findall(r"(?:function|subroutine) (strata_\w+)\(.*?bind\(C\)", text)
    assert len(functions) > 20
    for name in functions:
        assert f" {name}(" in declared, name
    values = dict(re.findall(r"(strata_\w+) = (\d+)", text))
    assert len(values) > 15
    for name, value in values.items():
        assert re.search(rf"\b{name.upper()} = {value}\b", declared), name
