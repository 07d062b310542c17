"""The cases of the C programs beside this file, each in a process of its own."""

import glob
import os
import subprocess

HERE = "c"


def programs():
    # Bazel puts the script that runs this file beside them.
    found = sorted(set(glob.glob(f"{HERE}/*_test")) - {f"{HERE}/c_test"})
    assert found
    return found


def cases_of(program):
    return subprocess.run(
        [program, "--list"], check=True, capture_output=True, text=True
    ).stdout.split()


def pytest_generate_tests(metafunc):
    cases = [(program, case) for program in programs() for case in cases_of(program)]
    metafunc.parametrize(
        "program,case", cases, ids=[f"{os.path.basename(p)}-{case}" for p, case in cases]
    )


def test_c(program, case, capsys):
    run = subprocess.run([program, case], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    for line in run.stdout.splitlines():
        if line.startswith("verified: "):
            with capsys.disabled():
                print(f"\n{line}")
