"""NVIDIA's Python bindings, which know nothing of Strata, drive the fake driver.

They find symbols, versions and structures for themselves: what our own declarations had wrong on
both sides would show here.
"""

import json
import os
import subprocess
import sys

import pytest

from tests import wheels

WATCHDOG_S = 300


def _trees():
    try:
        # A wheel of the bindings has its binary for each version of Python; pip takes ours.
        return [str(wheels.fetch("cuda-bindings", "13.0.3")),
                str(wheels.fetch("cuda-pathfinder", "1.3.3"))]  # fmt: skip
    except wheels.Unavailable as why:
        pytest.skip(str(why))


def test_an_independent_client_finds_in_the_fake_what_it_expects_of_a_driver():
    trees = _trees()
    machine = os.path.join("/dev/shm", "strata-test-bindings-%d" % os.getpid())
    os.mkdir(machine, 0o700)
    try:
        done = subprocess.run(
            [sys.executable, "tests/gpu/cuda_bindings_client.py"],
            env={**os.environ, "PYTHONPATH": ":".join(trees), "STRATA_FAKE_CUDA_DIR": machine,
                 "LD_LIBRARY_PATH": os.path.abspath("tests/fake_cuda")},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=WATCHDOG_S,
            check=False)  # fmt: skip
    finally:
        subprocess.run(["rm", "-r", machine], check=True)
    asked = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [row for row in asked if row["got"] not in row["wanted"]] == []
    assert asked[-1]["what"] == "all asked" and len(asked) > 45
