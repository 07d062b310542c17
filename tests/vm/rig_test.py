"""The rig itself: a guest that dies, hangs or lies never passes for a good one.

The programs with planted bugs are in the suites: numa_suite.sh, shadow_image_test.cc and
power_failure_test.py.
"""

import os
import subprocess
import sys
import time

import pytest

from tests.vm import kernel
from tests.vm import protocol
from tests.vm import run_suite

GOOD = ("@@BOOT 1.0", "@@CASE one PASS", "@@EXIT 0 2.0")


def report_of(*lines):
    report = protocol.Report("rig")
    for line in lines:
        report.read(line)
    report.finish_guest("")
    return report


def test_a_good_run_passes():
    assert not report_of(*GOOD).failed()


def test_a_failed_case_keeps_its_reason():
    failed = report_of("@@CASE one FAIL wanted 1, found 2", "@@EXIT 1 2.0").failed()
    assert [(case.name, case.reason) for case in failed] == [("one", "wanted 1, found 2")]


@pytest.mark.parametrize("missing", range(1, len(GOOD)))
def test_a_run_without_each_marker_fails(missing):
    assert report_of(*(line for i, line in enumerate(GOOD) if i != missing)).failed()


@pytest.mark.parametrize("line", [
    "@@CASE one", "@@CASE one PERHAPS",
    "@@JUNIT x <testsuites>", "@@JUNIT x </testsuites>",
])
def test_a_bad_line_fails_the_run(line):
    assert report_of("@@CASE one PASS", line, "@@EXIT 0 2.0").failed()


def test_cases_of_a_test_program_count_one_by_one():
    report = report_of(
        "@@JUNIT x <testsuites><testsuite>",
        '@@JUNIT x <testcase name="a"></testcase>',
        '@@JUNIT x <testcase name="b"><skipped message="why"/></testcase>',
        '@@JUNIT x <testcase name="c"><failure message="bad"/></testcase></testsuite>',
        "@@JUNIT x </testsuites>", "@@EXIT 1 2.0")
    assert [(case.name, case.outcome) for case in report.cases] == [
        ("x.a", "PASS"), ("x.b", "SKIP"), ("x.c", "FAIL")]


def run_script(tmp_path, text, timeout_s):
    """The report of a guest that runs `text`."""
    suite = tmp_path / "suite.sh"
    suite.write_text("#!/bin/sh\necho '@@CASE before PASS'\n" + text)
    report = protocol.Report("rig")
    with run_suite.work_directory() as work_dir:
        try:
            run_suite.run(report, suite, [], "small_modules", timeout_s, work_dir)
        except kernel.Unavailable as reason:
            pytest.skip(str(reason))
    return report


def test_a_guest_that_panics_fails(tmp_path):
    # The emulator's exit status is 0 then, as after a good end.
    report = run_script(tmp_path, "echo c >/proc/sysrq-trigger\n", 300)
    assert "the guest died" in report.failed()[0].reason
    assert "sysrq triggered crash" in report.failed()[0].reason  # the kernel's log is kept


def test_a_guest_that_hangs_fails_at_the_deadline(tmp_path):
    started_s = time.monotonic()
    report = run_script(tmp_path, "sleep 1000\n", 12)
    assert "no end within 12 s" in report.failed()[0].reason
    assert time.monotonic() - started_s < 500


def test_a_suite_that_fails_without_a_failed_case_fails(tmp_path):
    assert run_script(tmp_path, "exit 5\n", 300).failed()


def test_a_machine_that_cannot_emulate_skips_and_says_why(tmp_path):
    suite = tmp_path / "suite.sh"
    suite.write_text("#!/bin/sh\n")
    done = subprocess.run(
        [sys.executable, "-m", "tests.vm.run_suite", "--suite", str(suite)],
        env=dict(os.environ, STRATA_VM_CACHE="/proc/none", XML_OUTPUT_FILE=str(tmp_path / "xml")),
        stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0
    assert "SKIP emulation: cannot write the cache /proc/none" in done.stdout
    assert '<skipped message="cannot write the cache /proc/none' in (tmp_path / "xml").read_text()
