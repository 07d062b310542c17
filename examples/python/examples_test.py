"""Every example runs to its end and prints what its first lines promise; figures are its own."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests import wheels

FIGURE = r" *\d+\.\d+ us an increment"
# What each line of an example's output is, as regular expressions.
EXPECTED = {
    "aba": [
        r"without versions: the slots 1 2 2 are in use, one of them twice",
        r"with versions: the slots 1 2 3 are in use",
    ],
    "actor_counter": [
        r"Ray's actor: +(2000 counted,%s|not measured, Ray is not installed)" % FIGURE,
        r"shared memory: +2000 counted," + FIGURE,
    ],
    "arrow_table": [
        r"a table of 1000000 rows takes 160\d{5} bytes of the segment",
        r"a worker opened it: 1000000 rows, the prices add up to 499999500000",
        r"its column lies in the segment: True",
    ],
    "big_lists": [
        r"plain lists, fork: 8 workers read 3000000 items, -?\d+\.\d MB for 16\.1 MB of data",
        r"frozen lists, fork: 8 workers read 3000000 items, -?\d+\.\d MB for 16\.1 MB of data",
        r"frozen lists, forkserver: 8 workers read 3000000 items, -?\d+\.\d MB for 16\.1 .*",
        r"frozen lists, spawn: 8 workers read 3000000 items, -?\d+\.\d MB for 16\.1 MB of data",
    ],
    "counter_one_lock": [
        r"4 threads counted 40000 of 40000," + FIGURE,
        r"4 processes counted 40000 of 40000," + FIGURE,
    ],
    "counter_sharded": [
        r"sharded: +counted 80000 of 80000," + FIGURE,
        r"one number: +counted 80000 of 80000," + FIGURE,
        r"one lock: +counted 80000 of 80000," + FIGURE,
    ],
    "counter_unsynchronised": [
        r"4 threads counted \d+ instead of 80000: [1-9]\d* increments are lost",
        r"4 processes counted \d+ instead of 80000: [1-9]\d* increments are lost",
    ],
    "crash_demo": [
        r"4 workers finished and 4 were killed: 2 with the lock, 2 in a slot",
        r"the lock was recovered 2 times, and both numbers are 3004",
        r"3000 of 3000 messages came, each writer's in its order",
    ],
    "pipe_or_shared": [
        r"pipe: +20000 counted," + FIGURE,
        r"Redis: +(20000 counted,%s|not measured, it takes redis-server and .*)" % FIGURE,
        r"shared memory, one lock: +20000 counted," + FIGURE,
        r"shared memory, own slots: +20000 counted," + FIGURE,
    ],
    "pool_survives": [
        r"killed 5 times, and the pool was whole each time",
        r"the last step is (\d+), and the mesh is that of step \1",
    ],
    "publish_flag": [
        r"event: the reader saw 1000000 numbers, their sum 499999500000",
        r"publish: the reader saw 1000000 numbers, their sum 499999500000",
        r"publish: the writer was killed, NotReadyError",
    ],
    "shared_array": [
        r"a quarter of 2000000 bytes is sent in \d{3} bytes",
        r"4 workers normalised 1000 rows: each has the length 1\.000000",
    ],
    "torch_loader": [
        r"a data set of 12288000 bytes is sent in \d{3} bytes",
        r"(torch\.utils\.data\.DataLoader|a stand-in for PyTorch, which is not installed): "
        r"2 workers gave 16 batches of 1000 images, mean 124\.72",
    ],
}
# Packages of PyPI that an example cannot do without.
WHEELS = {"arrow_table": ("pyarrow", "21.0.0")}


def environment(name):
    """Where the example finds its wheel, which is the cache's and installed nowhere."""
    path = os.environ["PYTHONPATH"]
    if name in WHEELS:
        try:
            path += f":{wheels.fetch(*WHEELS[name])}"
        except wheels.Unavailable as why:
            pytest.skip(str(why))
    return dict(os.environ, PYTHONPATH=path)


@pytest.mark.parametrize("name", EXPECTED)
def test_example_does_what_it_says(name):
    run = subprocess.run(
        [sys.executable, f"examples/python/{name}.py"],
        env=environment(name), capture_output=True, text=True, timeout=250,
        check=False)  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == len(EXPECTED[name]), run.stdout
    for line, expected in zip(lines, EXPECTED[name]):
        assert re.fullmatch(expected, line), f"{line!r} is not {expected!r}"
    assert run.stderr == ""


def test_every_example_is_run():
    there = {path.stem for path in pathlib.Path("examples/python").glob("*.py")}
    assert there - {"examples_test"} == set(EXPECTED)
