"""What a newcomer types first: versions, help, slips of the fingers, --json anywhere."""

import json
import os
import re
import shutil
import subprocess

import pytest

from tests.e2e.command import DONE, NOT_FOUND, USAGE, as_json, new_name, ok, refusal, strata

HELP = as_json("help")
# Of each command the words that lead to it.
COMMANDS = [[each["name"]] for each in HELP["commands"]]
COMMANDS += [
    [group, each["name"]] for group in ("pool", "gpu") for each in as_json("help", group)["commands"]
]


def error_text(*arguments):
    run = strata(*arguments)
    assert run.returncode == USAGE and run.stdout == b"", (arguments, run)
    return run.stderr.decode()


# Versions


def test_version_is_one_line():
    assert re.fullmatch(rb"strata \d+\.\d+\.\d+\n", ok("--version"))
    assert ok("--version").decode() == f"strata {as_json('version')['version']}\n"
    assert as_json("--version") == {"version": as_json("version")["version"]}


def test_version_tells_of_formats_libraries_and_kernel():
    version = as_json("version")
    assert version["kernel"] == os.uname().release
    assert {"header", "handle", "heap", "transaction_log", "pool_directory", "pool_backup",
            "device_export"} <= set(version["formats"])  # fmt: skip
    assert all(re.fullmatch(r"\d+(\.\d+)?", each) for each in version["formats"].values())
    assert set(version["libraries"]) == {"libpmem2", "libpmemobj", "libpmempool", "hwloc"}
    for name in ("libpmemobj", "libpmempool", "hwloc"):
        library = version["libraries"][name]
        assert re.fullmatch(r"\d+\.\d+(\.\d+)?", library["running"])
        assert library["running"].split(".")[0] == library["built"].split(".")[0]
    text = ok("version").decode()
    assert version["kernel"] in text and version["compiler"] in text


def test_formats_are_those_that_are_written(tmp_path):
    ok("pool", "create", tmp_path / "p.pool", "--size", "8M")
    directory = as_json("version")["formats"]["pool_directory"]
    uri = f"pmem:{tmp_path}/p.pool#a"
    (tmp_path / "file").write_bytes(b"x" * 5000)
    ok("put", tmp_path / "file", uri)
    ok("pool", "backup", tmp_path / "p.pool", tmp_path / "backup")
    backup = (tmp_path / "backup").read_bytes()
    order = backup.find(bytes.fromhex("0807060504030201"))
    assert backup[:8] == b"STRABAK1" and order > 0
    # The version of the directory stands behind its magic (docs/format/pool.md).
    pool = (tmp_path / "p.pool").read_bytes()
    at = pool.find(b"STRADIR1") + 8
    major, minor = (int.from_bytes(pool[at + i : at + i + 2], "little") for i in (0, 2))
    assert directory == f"{major}.{minor}"


# Help


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_a_command_is_good_enough_for_a_man_page(command):
    text = ok("help", *command)
    assert text == ok(*command, "--help") == ok(*command, "-h")
    page = as_json("help", *command)
    assert page == as_json(*command, "--help")
    assert page["usage"].startswith("strata " + " ".join(command))
    assert page["summary"] and not page["summary"].endswith(".")
    assert len(page["summary"]) <= 66, "it stands in a list"
    assert page["description"], "a summary is no description"
    assert all(each.endswith((".", ":")) for each in page["description"])
    assert all(each["help"] for each in page["words"] + page["options"])
    assert text.decode().isascii(), "man pages are read on terminals of all kinds"
    assert all(len(line) <= 80 for line in text.decode().split("Examples:")[0].splitlines())
    assert page["commands"] or any(
        f"strata {' '.join(command)}" in example for example in page["examples"]
    )


def test_help_lists_every_command_by_its_summary():
    text = ok("help").decode()
    assert text == ok("--help").decode()
    for each in HELP["commands"]:
        assert re.search(rf"^  {each['name']} +{re.escape(each['summary'].split()[0])}", text, re.M)
    assert "\n  4  refused: in use, in the wrong state, or not yours\n" in text


def test_help_of_what_is_no_command_is_a_usage_error():
    assert "unknown command `strata frob`" in error_text("help", "frob")
    assert "did you mean `check`?" in error_text("help", "pool", "chek")


def test_nothing_and_a_group_alone_say_what_there_is():
    for arguments in ([], ["pool"], ["gpu"]):
        assert "Usage: strata" in error_text(*arguments)
    assert refusal(USAGE, "pool")["message"] == "`strata pool` needs a command"
    assert refusal(USAGE)["message"] == "`strata` needs a command"


# Slips


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["lss"], "ls"),
        (["sael", "shm:x"], "seal"),
        (["topolgy"], "topology"),
        (["list"], "ls"),
        (["delete", "shm:x"], "rm"),
        (["backup", "p", "f"], "strata pool backup"),
        (["pool", "chekc", "p"], "check"),
        (["gpu", "list"], "ls"),
        (["ls", "--jsn"], "--json"),
        (["create", "shm:x", "--sise", "4K"], "--size"),
        (["create", "shm:x", "--size=4K", "--lifetme=job"], "--lifetime"),
        (["pool", "check", "p", "--quik"], "--quick"),
    ],
)
def test_a_slip_gets_a_suggestion(typed, meant):
    assert f"did you mean `{meant}`?" in error_text(*typed)
    assert f"did you mean `{meant}`?" in refusal(USAGE, *typed)["message"]


@pytest.mark.parametrize("typed", ["frobnicate", "x", "\x1b[2J", "l" * 5000])
def test_what_is_near_to_nothing_gets_no_suggestion(typed):
    text = error_text(typed)
    assert "unknown command" in text and "did you mean" not in text and "\x1b" not in text


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["cat"], "URI"),
        (["create", "shm:x", "--size"], "--size needs a value: --size SIZE"),
        (["grow", "shm:x"], "SIZE"),
        (["create", "shm:x", "--size", "4K", "--tier", "speed"], "bandwidth, latency, capacity"),
        (["create", "shm:x", "--size", "4K", "--interleave", "0,x"], "'x' is not a whole number"),
        (["top", "--rounds", "x"], "'x' is not a whole number"),
        (["top", "--rounds", "-1"], "'-1' is not a whole number from 0 up"),
        (["top", "--rounds", "99999999999999999999"], "is more than"),
        (["top", "--interval", "nan"], "nan is not from"),
        (["ls", "a", "b"], "'b' is one too many"),
        (["create", "shm:x", "--size", "4K", "--node", "0", "--tier", "latency"], "Placement"),
    ],
)
def test_a_usage_error_says_what_is_wrong_and_how_it_is_meant(typed, told):
    text = error_text(*typed)
    assert told in text.splitlines()[0]
    assert text.splitlines()[1].startswith("usage: strata ")
    assert f"`strata help {typed[0]}`" in text.splitlines()[2]


def test_a_list_takes_one_argument_and_leaves_the_next_to_the_command():
    uri = "shm:" + new_name()
    ok("create", "--prefer", "0", uri, "--size", "64K")
    ok("rm", uri)


# --json


@pytest.mark.parametrize(
    "arguments",
    [["--json", "ls", "zz*"], ["ls", "--json", "zz*"], ["ls", "zz*", "--json"],
     ["--json", "ls", "--json", "zz*"]],
)  # fmt: skip
def test_json_means_the_same_wherever_it_stands(arguments):
    assert set(json.loads(ok(*arguments))) == {"segments", "problems"}


@pytest.mark.parametrize("at", range(4))
def test_json_means_the_same_for_subcommands_and_errors(at, tmp_path):
    arguments = ["pool", "ls", str(tmp_path / "absent.pool")]
    run = strata(*arguments[:at], "--json", *arguments[at:])
    assert run.returncode == NOT_FOUND and run.stdout == b""
    assert json.loads(run.stderr)["error"]["code"] == "not_found"


def test_json_behind_two_dashes_is_a_word(tmp_path):
    run = strata("put", "--", "--json", "shm:" + new_name())
    assert run.returncode == NOT_FOUND
    assert run.stderr.startswith(b"strata: not_found") and b"--json" in run.stderr


@pytest.mark.parametrize(("length", "rates"), [(100, 0), (2 << 20, 1)])
def test_few_bytes_have_no_rate_and_many_have_one(length, rates, tmp_path):
    uri = "shm:" + new_name()
    (tmp_path / "file").write_bytes(b"x" * length)
    try:
        assert ok("put", tmp_path / "file", uri).count(b"B/s)") == rates
    finally:
        strata("rm", uri)


def test_json_takes_no_value():
    assert strata("ls", "--json=true").returncode == USAGE


# Pages


def test_man_writes_a_page_for_every_command(tmp_path):
    done = as_json("man", "--into", tmp_path / "man1")
    names = {f"strata-{'-'.join(command)}.1" for command in COMMANDS} | {"strata.1"}
    assert {os.path.basename(each) for each in done["files"]} == names
    assert set(os.listdir(tmp_path / "man1")) == names
    assert (tmp_path / "man1/strata-ls.1").read_bytes() == ok("man", "ls")
    # Again over what is there, and into no folder that can be made.
    ok("man", "--into", tmp_path / "man1")
    assert strata("man", "--into", tmp_path / "a/b").returncode == NOT_FOUND


@pytest.mark.parametrize("checker", ["groff", "man"])
def test_pages_are_set_without_a_warning(checker, tmp_path):
    program = shutil.which(checker)
    if not program or (checker == "man" and not has_real_man(program)):
        pytest.skip(f"{checker} is not installed")
    ok("man", "--into", tmp_path)
    command = {"groff": ["groff", "-man", "-ww", "-Tascii"], "man": ["man", "--warnings", "-l"]}
    for page in sorted(tmp_path.iterdir()):
        run = subprocess.run([*command[checker], page], capture_output=True, timeout=100,
                             check=True, env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"})  # fmt: skip
        assert run.stderr == b"", (page.name, run.stderr)
        # Bold is overstruck or escaped, by the one or the other.
        text = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", run.stdout.decode())
        for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"):
            assert re.search(rf"^{section}$", text, re.M), (page.name, section)
        assert "--json" in text


def has_real_man(program):
    """Some images have a script of that name that only says that pages were left out."""
    run = subprocess.run([program, "--version"], capture_output=True, timeout=100, check=False)
    return run.returncode == 0 and run.stdout.startswith(b"man ")


def test_a_page_says_what_the_help_says():
    for command in (["ls"], ["pool", "check"], ["create"]):
        page = as_json("man", *command)
        help_page = as_json("help", *command)
        assert page["file"] == f"strata-{'-'.join(command)}.1"
        plain = page["page"].replace("\\-", "-").replace("\\(aq", "'").replace("\\fB", "`")
        plain = plain.replace("\\fR", "`")
        assert f".SH NAME\nstrata-{'-'.join(command)} - {help_page['summary']}\n" in plain
        for each in help_page["options"] + help_page["words"]:
            assert each["help"] in plain
        for example in help_page["examples"]:
            assert example.split("#")[0].rstrip() in plain
