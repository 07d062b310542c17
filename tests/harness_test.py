"""The test harness itself: what ./check counts rests on it."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

from bazel import test_summary


def run_fixture(tmp_path):
    junit = tmp_path / "test.xml"
    environment = dict(os.environ, XML_OUTPUT_FILE=str(junit), BAZEL_TEST="1")
    run = subprocess.run(
        ["tests/harness_fixture"], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    return run, junit


def summarise(tmp_path, *events):
    path = tmp_path / "events.json"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    run = subprocess.run(
        [sys.executable, "bazel/test_summary.py", str(path)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout.splitlines()


def test_the_counts_of_several_runs_are_added(tmp_path):
    for name in ("plain", "asan"):
        (tmp_path / name).write_text(json.dumps(failed_action("ClangTidy", name)) + "\n")
    run = subprocess.run(
        [sys.executable, "bazel/test_summary.py", str(tmp_path / "plain"), str(tmp_path / "asan")],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    lines = run.stdout.splitlines()
    assert run.returncode == 1
    assert [line for line in lines if line.startswith("==")] == ["== plain", "== asan"]
    assert lines[-1] == "0 passed, 2 failed, 0 skipped"


def configured(label):
    return {"id": {"targetConfigured": {"label": label}}, "configured": {"testSize": "SMALL"}}


def finished(label, status, **outputs):
    files = [{"name": n.replace("_", "."), "uri": f"file://{p}"} for n, p in outputs.items()]
    return {
        "id": {"testResult": {"label": label, "run": 1, "shard": 1, "attempt": 1}},
        "testResult": {"status": status, "testActionOutput": files},
    }


def failed_action(mnemonic, output):
    return {
        "id": {"actionCompleted": {"primaryOutput": output, "label": "//a:a"}},
        "action": {"success": False, "type": mnemonic},
    }


def junit_file(tmp_path, body):
    path = tmp_path / "written.xml"
    path.write_text(f"<testsuites><testsuite>{body}</testsuite></testsuites>")
    return path


def test_every_case_is_recorded_with_its_outcome(tmp_path):
    run, junit = run_fixture(tmp_path)
    assert run.returncode != 0
    cases = {case.get("name"): case for case in ET.parse(junit).getroot().iter("testcase")}
    assert len(cases) == 3
    assert len(cases["this_one_passes"].findall("*")) == 0
    assert cases["this_one_fails & says <so>"].find("failure") is not None
    assert cases["this_one_skips"].find("skipped").get("message").strip() == "needs 2 nodes"
    assert "went on after the skip" not in run.stdout


def test_the_last_line_counts_cases_and_skips_keep_their_reason(tmp_path):
    _, junit = run_fixture(tmp_path)
    code, lines = summarise(tmp_path, configured("//a:t"), finished("//a:t", "FAILED", test_xml=junit))
    assert code == 1
    assert lines[-1] == "1 passed, 1 failed, 1 skipped"
    assert "    skipped this_one_skips: needs 2 nodes" in lines


def test_a_clean_run_exits_with_zero(tmp_path):
    junit = junit_file(tmp_path, '<testcase name="x"/>')
    code, lines = summarise(tmp_path, configured("//a:t"), finished("//a:t", "PASSED", test_xml=junit))
    assert (code, lines[-1]) == (0, "1 passed, 0 failed, 0 skipped")


def test_a_target_that_did_not_run_is_a_failure(tmp_path):
    junit = junit_file(tmp_path, '<testcase name="x"/>')
    code, lines = summarise(
        tmp_path, configured("//a:t"), configured("//a:u"), finished("//a:t", "PASSED", test_xml=junit)
    )
    assert (code, lines[-1]) == (1, "1 passed, 1 failed, 0 skipped")


def test_a_crash_after_the_last_case_is_a_failure(tmp_path):
    junit = junit_file(tmp_path, '<testcase name="x"/>')
    code, lines = summarise(tmp_path, configured("//a:t"), finished("//a:t", "FAILED", test_xml=junit))
    assert (code, lines[-1]) == (1, "1 passed, 1 failed, 0 skipped")


def test_a_target_without_a_case_is_a_failure(tmp_path):
    code, lines = summarise(
        tmp_path, configured("//a:t"), finished("//a:t", "PASSED", test_xml=junit_file(tmp_path, ""))
    )
    assert (code, lines[-1]) == (1, "0 passed, 1 failed, 0 skipped")


def test_a_source_that_clang_tidy_refuses_is_a_failure(tmp_path):
    junit = junit_file(tmp_path, '<testcase name="x"/>')
    code, lines = summarise(
        tmp_path,
        configured("//a:t"),
        finished("//a:t", "PASSED", test_xml=junit),
        failed_action("ClangTidy", "bazel-out/bin/a/_tidy/a/a.cc.ok"),
        failed_action("CppCompile", "bazel-out/bin/a/a.o"),  # its targets count as not run
    )
    assert (code, lines[-1]) == (1, "1 passed, 1 failed, 0 skipped")
    assert lines[-2].split() == ["clang-tidy", "bazel-out/bin/a/_tidy/a/a.cc.ok", "REFUSED"]


def test_a_run_of_nothing_is_a_failure(tmp_path):
    assert summarise(tmp_path) == (1, ["0 passed, 0 failed, 0 skipped"])


def test_verified_lines_are_summed_by_what_they_count(tmp_path):
    log = tmp_path / "test.log"
    log.write_text("verified: 40 kill points\nverified: 2 pages\nverified: 2 kill points\n")
    junit = junit_file(tmp_path, '<testcase name="x"/>')
    _, lines = summarise(
        tmp_path, configured("//a:t"), finished("//a:t", "PASSED", test_xml=junit, test_log=log)
    )
    assert lines[-3:-1] == ["verified: 42 kill points", "verified: 2 pages"]


def test_an_unreadable_junit_file_has_no_case(tmp_path):
    assert test_summary.count_cases(str(tmp_path / "absent.xml")) == ([0, 0, 0], [])
