"""Every example runs to its end and prints what its first lines promise; figures are its own."""

import pathlib
import re
import subprocess
import sys

import pytest

FIGURE = r" *\d+\.\d+ us an increment"
# What each line of an example's output is, as regular expressions.
EXPECTED = {
    "counter_one_lock": [
        r"4 threads counted 40000 of 40000," + FIGURE,
        r"4 processes counted 40000 of 40000," + FIGURE,
    ],
    "counter_sharded": [
        r"own rows:  counted 40000 of 40000," + FIGURE,
        r"one lock:  counted 40000 of 40000," + FIGURE,
    ],
    "counter_unsynchronised": [
        r"4 threads counted \d+ instead of 80000: [1-9]\d* increments are lost",
        r"4 processes counted \d+ instead of 80000: [1-9]\d* increments are lost",
    ],
    "pipe_or_shared": [
        r"pipe: +20000 counted," + FIGURE,
        r"Redis: +(20000 counted,%s|not measured, it takes redis-server and python3-redis)" % FIGURE,
        r"shared memory, one lock: +20000 counted," + FIGURE,
        r"shared memory, own slots: +20000 counted," + FIGURE,
    ],
    "shared_array": [
        r"a quarter of 2000000 bytes is sent in \d{3} bytes",
        r"4 workers normalised 1000 rows: each has the length 1\.000000",
    ],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_example_does_what_it_says(name):
    run = subprocess.run(
        [sys.executable, f"examples/python/{name}.py"],
        capture_output=True, text=True, timeout=250, check=False)  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == len(EXPECTED[name]), run.stdout
    for line, expected in zip(lines, EXPECTED[name]):
        assert re.fullmatch(expected, line), f"{line!r} is not {expected!r}"
    assert run.stderr == ""


def test_every_example_is_run():
    there = {path.stem for path in pathlib.Path("examples/python").glob("*.py")}
    assert there - {"examples_test"} == set(EXPECTED)
