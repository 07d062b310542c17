"""kernels.ptx is what the pinned compiler makes of kernels.cu, and a toolkit found here takes the same source."""

import os
import pathlib
import shutil
import subprocess

import pytest

from gpu.kernels import make_ptx
from tests import toolkit, wheels

ENTRIES = ["strata_fill", "strata_find_difference", "strata_hash_blocks"]


def nvcc_or_skip():
    try:
        return str(toolkit.root() / "bin/nvcc")
    except wheels.Unavailable as error:
        pytest.skip(str(error))


def test_the_checked_in_text_is_what_the_pinned_compiler_makes_of_the_source():
    try:
        text = make_ptx.compile_ptx()
    except wheels.Unavailable as error:
        pytest.skip(str(error))
    assert text == pathlib.Path(make_ptx.RESULT).read_text(), "run gpu/kernels/make_ptx.py"


def test_the_text_is_for_every_driver_and_device_that_strata_supports():
    lines = pathlib.Path(make_ptx.RESULT).read_text().splitlines()
    assert ".version 8.0" in lines
    assert ".target sm_70" in lines
    for entry in ENTRIES:
        assert sum(line.startswith(".visible .entry %s(" % entry) for line in lines) == 1


def test_nvcc_makes_a_fatbin_of_the_same_source(tmp_path):
    nvcc = nvcc_or_skip()
    fatbin = tmp_path / "kernels.fatbin"
    command = [
        nvcc, "-std=c++17", "-fatbin", "-I.", "-Werror", "all-warnings",
        "-gencode=arch=compute_80,code=sm_80", "-gencode=arch=compute_90,code=sm_90",
        "-gencode=arch=compute_80,code=compute_80", make_ptx.SOURCE, "-o", str(fatbin),
    ]  # fmt: skip
    environment = dict(os.environ, TMPDIR=str(tmp_path))
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        env=environment)  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert fatbin.stat().st_size > 0
    disassembler = os.path.join(os.path.dirname(nvcc), "cuobjdump")
    if shutil.which(disassembler):
        listed = subprocess.run(
            [disassembler, "-lelf", "-lptx", str(fatbin)], capture_output=True, text=True, check=True
        ).stdout
        assert "sm_80" in listed and "sm_90" in listed
