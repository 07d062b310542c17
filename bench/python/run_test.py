"""bench/python/run.py runs everywhere, and says what it did not measure."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree

import pytest

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)

import harness
import lists
import report

TABLES = [
    "counters",
    "messages",
    "objects",
    "lock",
    "with",
    "refused",
    "attach",
    "import",
    "dict-set",
    "dict-get",
    "lists-fork",
    "lists-forkserver",
    "lists-spawn",
]


def run(*arguments):
    return subprocess.run(
        [sys.executable, os.path.join(FOLDER, "run.py"), *arguments], capture_output=True, text=True
    )


def test_every_table_is_listed():
    assert run("--list").stdout.split() == TABLES


@pytest.mark.parametrize(
    "tables",
    [
        ["counters", "messages"],
        ["objects"],
        ["lock", "refused", "dict-get"],
        ["attach", "import"],
        ["lists-spawn"],
    ],
    ids=" ".join,
)
def test_a_quick_run_gives_tables_json_and_a_chart(tables, tmp_path):
    files = [tmp_path / "all.json", tmp_path / "all.svg", tmp_path / "all.md"]
    done = run("--quick", *tables, "--json", files[0], "--svg", files[1], "--markdown", files[2])
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
    results = json.loads(files[0].read_text())["tables"]
    assert [result["table"] for result in results] == tables
    chart = xml.etree.ElementTree.parse(files[1]).getroot()
    shown = [element.text for element in chart.iter("{http://www.w3.org/2000/svg}text")]
    for result in results:
        assert result["title"] in done.stdout and result["title"] in files[2].read_text()
        for row in result["rows"]:
            assert row["median_s"] > 0 and row["ratio"] > 0
            assert row["name"] in done.stdout and row["name"] in shown
        for name, why in result["absent"].items():
            assert f"absent: {name}: {why}"[:99] in done.stdout
            assert "install" in why


def test_what_is_not_there_is_named_with_how_to_get_it():
    row = harness.Row(
        "ours",
        lambda operations: 1.0,
        1,
        (("no_such_module_here", "pip install it"), ("os", "never"), ("os.nothing", "or so")),
    )
    other = harness.Row("peer", lambda operations: 2.0 * operations, 10)
    table = harness.Table("t", "title", "once", [row, other], (harness.Goal("ours", "peer", 1.0),))
    result = harness.measure(table, rounds=3)
    assert result["absent"] == {"ours": "pip install it; or so"}
    assert result["goals"] == []
    assert [one["name"] for one in result["rows"]] == ["peer"]
    assert result["rows"][0]["seconds"] == [2.0] * 3


def test_a_goal_is_judged_by_the_median_of_the_ratios_of_the_rounds():
    ours, peers = iter([10.0, 30.0, 200.0]), iter([10.0, 10.0, 100.0])
    rows = [
        harness.Row("peer", lambda _: next(peers), 10),
        harness.Row("ours", lambda _: next(ours), 10),
    ]
    table = harness.Table(
        "t",
        "title",
        "once",
        rows,
        (harness.Goal("ours", "peer", 2.0), harness.Goal("ours", "peer", 1.9)),
    )
    result = harness.measure(table, rounds=3)
    assert [(goal["ratio"], goal["met"]) for goal in result["goals"]] == [(2.0, True), (2.0, False)]
    assert "goal: ours at most 1.9× of peer: 2×, MISSED" in report.table(result)


def test_a_worker_that_fails_ends_the_benchmark():
    crew = harness.Crew()
    crew.add(fails)
    with pytest.raises(RuntimeError, match="ended early"):
        crew.time()


def fails(begin):
    begin()
    os._exit(3)


def test_the_sum_that_the_readers_of_lists_are_checked_by_is_right():
    for elements in (0, 1, 2, 3, 1000):
        assert lists.expected_sum(elements) == sum(map(sum, lists.values(elements)))


def test_units_are_chosen_by_size():
    assert [report.duration(value) for value in (2.5e-9, 1.5e-6, 0.0123, 12.0)] == [
        "2.5 ns",
        "1.5 µs",
        "12.3 ms",
        "12 s",
    ]
    assert report.size(34_000_000) == "34.0 MB"


def test_what_is_no_table_is_refused():
    done = run("nothing")
    assert done.returncode == 2
    assert "no table nothing: there are counters" in done.stderr
