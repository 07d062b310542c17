"""The fake driver answers the conformance table, and page, program and golden files agree."""

import json
import os
import pathlib
import re
import subprocess
import tempfile

import pytest

PROGRAM = "tests/gpu/conformance"
PAGE = pathlib.Path("tests/gpu/conformance.md")
GOLDEN = pathlib.Path("tests/gpu/golden")
FAKE = os.path.abspath("tests/fake_cuda/libcuda.so.1")
WATCHDOG_S = 600


def _ask(*arguments, **environment):
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="strata-test-") as machine:
        return subprocess.run(
            [PROGRAM, "--library", FAKE, "--devices", machine, *arguments],
            env={**os.environ, "STRATA_FAKE_CUDA_DIR": machine, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=WATCHDOG_S,
            check=False)  # fmt: skip


@pytest.fixture(scope="module", name="fake")
def fixture_fake():
    done = _ask("--json", STRATA_FAKE_CUDA_DEVICES="2")
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def _rows(found):
    return {row["row"]: row for row in found["rows"]}


def test_the_fake_answers_every_row_that_is_marked_for_it(fake):
    rows = [row for row in fake["rows"] if "fake" in row["where"]]
    assert len(rows) > 70
    wrong = [row for row in rows if row["verdict"] != "as expected"]
    assert not wrong


def test_the_page_and_the_program_have_the_same_rows():
    page = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if re.match(r"\| \d+ \|", line):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            page[int(cells[0])] = cells[4]
    listed = json.loads(
        subprocess.run([PROGRAM, "--list"], stdout=subprocess.PIPE, check=True).stdout)  # fmt: skip
    assert page == {row["row"]: row["where"] for row in listed}
    assert len(listed) == len(page)  # no number twice


def test_what_no_source_settles_is_printed_as_unverified_on_the_fake(fake):
    done = _ask(STRATA_FAKE_CUDA_DEVICES="2")
    assert "FAKE: this is no GPU" in done.stdout
    lines = {int(line.split()[0]): line for line in done.stdout.splitlines()
             if re.match(r" *\d+  ", line)}  # fmt: skip
    for number, row in _rows(fake).items():
        is_guess = row["evidence"] == "unverified" and row["verdict"] != "not asked"
        assert lines[number].endswith("(unverified)") == is_guess, lines[number]


def test_a_call_that_fails_otherwise_is_reported():
    done = _ask("--json", STRATA_FAKE_CUDA_FAIL="cuMemRelease:1:999")
    assert done.returncode == 1
    verdicts = [row["verdict"] for row in json.loads(done.stdout)["rows"]]
    assert "differs" in verdicts


def test_a_row_that_kills_its_process_costs_the_others_nothing(fake):
    done = _ask("--json", STRATA_FAKE_CUDA_DEVICES="2", STRATA_FAKE_CUDA_FAIL="cuMemHostAlloc:1:killed")
    rows = _rows(json.loads(done.stdout))
    assert rows[84]["answer"] == "signal 9"
    others = {number: row["verdict"] for number, row in rows.items() if number != 84}
    assert others == {n: row["verdict"] for n, row in _rows(fake).items() if n != 84}


def test_without_a_driver_there_is_a_reason_and_no_table():
    done = subprocess.run(
        [PROGRAM, "--library", "/nonexistent/libcuda.so.1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert "no driver" in done.stderr and not done.stdout


def test_the_output_names_no_host_and_no_uuid(fake):
    text = json.dumps(fake)
    assert os.uname().nodename not in text
    assert not re.search(r"GPU-[0-9a-f]{8}", text)


def test_a_gpu_said_what_the_fake_says(fake):
    files = sorted(GOLDEN.glob("conformance*.json"))
    if not files:
        pytest.skip("no golden file: no GPU has been asked yet")
    answers = _rows(fake)
    for file in files:
        golden = json.loads(file.read_text(encoding="utf-8"))
        assert not golden["is_fake"], file
        differing = [
            (row["row"], row["answer"], answers[row["row"]]["answer"])
            for row in golden["rows"]
            if row["where"] == "fake, GPU"
            and row["verdict"] != "not asked"
            and row["answer"] != answers[row["row"]]["answer"]
        ]
        assert not differing, file
