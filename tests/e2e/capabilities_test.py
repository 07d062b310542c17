"""What the command and the guide say of each kind of memory is what the library does."""

import pathlib
import re

import pytest

from tests.e2e.command import FAILED, as_json, new_name, ok, refusal

GUIDE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "guides" / "sharing.md"


def declared():
    return as_json("doctor")["capabilities"]


def table_of_the_guide():
    section = GUIDE.read_text().split("## What each kind of memory can do", 1)[1]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.split("\n## ", 1)[0].splitlines()
        if line.startswith("|") and not re.fullmatch(r"[|-]+", line)
    ]
    kinds = rows[0][1:]
    return {
        kind: {row[0]: row[1 + number] == "yes" for row in rows[1:]}
        for number, kind in enumerate(kinds)
    }


def test_the_guide_says_what_the_backends_declare():
    by_guide = table_of_the_guide()
    for kind, all_of_it in declared().items():
        can = {name: what["can"] for name, what in all_of_it.items() if name != "default_lifetime"}
        assert by_guide[kind] == can
        for name, what in all_of_it.items():
            if name != "default_lifetime":
                assert bool(what["why_not"]) != what["can"], (kind, name)


@pytest.fixture
def uris(tmp_path):
    pool = tmp_path / "pool"
    ok("pool", "create", pool, "--size", "16M")
    names = {"shm": "shm:" + new_name(), "pmem": f"pmem:{pool}#" + new_name()}
    yield names
    ok("rm", names["shm"])


def test_what_cannot_be_done_is_unsupported_and_says_why(uris):
    for kind, uri in uris.items():
        can = {name: what["can"] for name, what in declared()[kind].items() if name != "default_lifetime"}
        ok("create", uri, "--size", "64K", "--max-size", "128K")
        assert as_json("info", uri)["lifetime"] == declared()[kind]["default_lifetime"]
        ok("grow", uri, "128K")
        for what, arguments in {
            "migrate": ["migrate", uri, "--node", "0"],
            "placement": ["create", uri + "2", "--size", "64K", "--node", "0"],
        }.items():
            if can[what]:
                ok(*arguments)
                if what == "placement":
                    ok("rm", uri + "2")
                continue
            error = refusal(FAILED, *arguments)
            assert error["code"] == "unsupported"
            assert declared()[kind][what]["why_not"] in error["message"]
