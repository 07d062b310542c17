"""`strata gc` and `strata ls` over every backend: pools that others used, and places that are broken."""

import json
import os
import shutil
import signal
import subprocess
import tempfile

import pytest

from tests.e2e.command import (
    DONE,
    NOT_FOUND,
    REFUSED,
    STRATA,
    UNKNOWN,
    Holder,
    as_json,
    new_name,
    ok,
    refusal,
    strata,
)

STRANGER = 1234


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """A state directory for each test: what one records no other finds."""
    directory = tmp_path / "state"
    directory.mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(directory))
    return directory


@pytest.fixture
def pool(tmp_path):
    path = tmp_path / "run.pool"
    ok("pool", "create", path, "--size", "16M")
    return path


def records(state):
    registry = state / "strata" / "pools"
    return [] if not registry.exists() else sorted(registry.iterdir())


def gc(code, *flags):
    run = strata("gc", "--json", *flags)
    assert run.returncode == code, (run.stdout, run.stderr)
    report = json.loads(run.stdout)
    return {c["uri"]: c for c in report["candidates"]}, report["problems"]


def kill_creator_of(uri):
    holder = Holder(uri)
    holder.end(signal.SIGKILL)
    return holder.process.pid


def damage(pool):
    with open(pool, "r+b") as file:
        file.write(bytes(4096))


def test_gc_finds_and_reclaims_what_a_killed_process_left_in_a_pool(pool, state):
    kept, orphan = f"pmem:{pool}#kept", f"pmem:{pool}#orphan"
    ok("create", kept, "--size", "64K")
    pid = kill_creator_of(orphan)
    assert len(records(state)) == 1
    decisions, problems = gc(DONE, "--dry-run")
    assert decisions[orphan]["orphan"] and str(pid) in decisions[orphan]["evidence"]
    assert not decisions[kept]["orphan"] and problems == []
    assert strata("info", orphan).returncode == DONE
    decisions, _ = gc(DONE)
    assert decisions[orphan]["reclaimed"]
    assert strata("info", orphan).returncode == NOT_FOUND
    assert strata("info", kept).returncode == DONE
    decisions, _ = gc(DONE)
    assert orphan not in decisions and kept in decisions


def test_a_pool_is_known_from_the_moment_that_something_is_put_into_it(pool, state):
    shutil.rmtree(state / "strata")
    kill_creator_of(f"pmem:{pool}#orphan")
    decisions, _ = gc(DONE)
    assert decisions[f"pmem:{pool}#orphan"]["reclaimed"]


def test_a_pool_that_is_not_recorded_is_looked_at_when_it_is_named(pool, state):
    orphan = f"pmem:{pool}#orphan"
    kill_creator_of(orphan)
    shutil.rmtree(state / "strata")
    decisions, _ = gc(DONE, "--dry-run")
    assert orphan not in decisions
    decisions, _ = gc(DONE, "--pool", pool)
    assert decisions[orphan]["reclaimed"]
    _, problems = gc(UNKNOWN, "--dry-run", "--pool", pool, "--pool", f"{pool}.absent")
    assert [(p["where"], p["code"]) for p in problems] == [(f"pmem:{pool}.absent", "not_found")]


def test_a_damaged_pool_is_told_and_keeps_gc_from_nothing_else(pool, tmp_path):
    damaged = tmp_path / "damaged.pool"
    ok("pool", "create", damaged, "--size", "16M")
    damage(damaged)
    in_pool, in_memory = f"pmem:{pool}#orphan", "shm:" + new_name()
    kill_creator_of(in_pool)
    kill_creator_of(in_memory)
    text = strata("gc", "--dry-run")
    assert text.returncode == UNKNOWN
    assert f"pmem:{damaged}".encode() in text.stdout
    assert b"could not look" in text.stdout and b"1 place could not be looked at" in text.stdout
    decisions, problems = gc(UNKNOWN)
    assert decisions[in_pool]["reclaimed"] and decisions[in_memory]["reclaimed"]
    assert [p["where"] for p in problems] == [f"pmem:{damaged}"]
    assert problems[0]["message"]


def test_gc_drops_the_record_of_a_deleted_pool_and_a_dry_run_does_not(pool, state):
    folder = pool.parent / "folder"
    folder.mkdir()
    ok("pool", "create", folder / "nested.pool", "--size", "16M")
    os.unlink(pool)
    shutil.rmtree(folder)
    for flags, left in [(["--dry-run"], 2), ([], 0)]:
        _, problems = gc(DONE, *flags)
        assert problems == []
        assert len(records(state)) == left


def test_a_record_of_a_file_system_that_is_away_stays_and_is_told(pool, state):
    (record,) = records(state)
    path, host, _ = record.read_text().splitlines()
    os.unlink(pool)
    record.write_text(f"{path}\n{host}\n{pool.parent}\n")
    _, problems = gc(UNKNOWN)
    assert problems[0]["code"] == "not_found" and "mount it" in problems[0]["message"]
    assert records(state) == [record]


def test_ls_shows_recorded_pools_and_what_it_could_not_look_into(pool, tmp_path):
    uri = f"pmem:{pool}#mesh"
    ok("create", uri, "--size", "64K")
    assert uri in [s["uri"] for s in as_json("ls")["segments"]]
    assert uri in [s["uri"] for s in as_json("ls", "mesh")["segments"]]
    damaged = tmp_path / "damaged.pool"
    ok("pool", "create", damaged, "--size", "16M")
    damage(damaged)
    run = strata("ls", "--json")
    assert run.returncode == UNKNOWN
    listed = json.loads(run.stdout)
    assert uri in [s["uri"] for s in listed["segments"]]
    assert [p["where"] for p in listed["problems"]] == [f"pmem:{damaged}"]
    assert str(damaged).encode() in strata("ls").stderr
    assert refusal(NOT_FOUND, "ls", f"pmem:{tmp_path}/absent#*")["code"] == "not_found"


def test_gc_of_a_job_says_who_said_that_it_has_ended(pool):
    uri = f"pmem:{pool}#mesh"
    job = new_name()
    ok("create", uri, "--size", "64K", "--lifetime", "job", "--job", job)
    decisions, _ = gc(DONE, "--dry-run", "--job", "another")
    assert "not known to have ended" in decisions[uri]["evidence"]
    decisions, _ = gc(DONE, "--job", job)
    assert decisions[uri]["reclaimed"]
    assert "said so on the command line" in decisions[uri]["evidence"]


def test_where_nothing_can_be_recorded_pools_are_used_all_the_same(pool, state, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    ok("create", f"pmem:{pool}#mesh", "--size", "64K")
    ok("cat", f"pmem:{pool}#mesh")
    facts = {f["name"]: f for f in as_json("doctor")["persistence"]}
    fact = next(f for name, f in facts.items() if "used pools" in name)
    assert not fact["fine"] and fact["remedy"]


def test_the_home_is_used_where_no_state_directory_is_set(pool, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(home))
    ok("create", f"pmem:{pool}#mesh", "--size", "64K")
    assert len(records(home / ".local" / "state")) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to act as several users")
def test_a_registry_of_another_user_is_not_followed(state):
    # Where the command was built another user may not look.
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        command = shutil.copy(STRATA, directory)
        home = os.path.join(directory, "home")
        os.mkdir(home)
        os.chown(home, STRANGER, STRANGER)
        pool = os.path.join(home, "theirs.pool")
        theirs = {"HOME": home, "PATH": "/bin:/usr/bin"}

        def as_stranger(*arguments):
            return subprocess.run([command, *arguments], user=STRANGER, group=STRANGER,
                                  extra_groups=[], env=theirs, cwd="/", capture_output=True,
                                  check=True)  # fmt: skip

        as_stranger("pool", "create", pool, "--size", "16M")
        as_stranger("create", f"pmem:{pool}#mesh", "--size", "64K")
        assert b"theirs.pool" in as_stranger("ls").stdout
        # Root with their HOME, as under sudo, and root who is told to look there.
        for there in [theirs, {"XDG_STATE_HOME": os.path.join(home, ".local/state"), **theirs}]:
            run = subprocess.run([command, "ls"], env=there, capture_output=True, check=False)
            assert run.returncode == DONE and b"theirs.pool" not in run.stdout
        # And nothing of root's is put into their home.
        shutil.rmtree(os.path.join(home, ".local"))
        subprocess.run([command, "pool", "create", f"{directory}/ours.pool", "--size", "16M"],
                       env=theirs, check=True, capture_output=True)  # fmt: skip
        assert os.listdir(home) == ["theirs.pool"]


def test_blocks_of_the_python_drop_in_are_no_segments_and_are_left_alone(monkeypatch):
    """python/strata/shared_memory.py makes plain files, and notes about them."""
    monkeypatch.syspath_prepend("python")
    from strata.shared_memory import SharedMemory

    name = new_name()
    plain = SharedMemory(name, create=True, size=5000)
    in_our_names = SharedMemory(f"strata.{name}", create=True, size=5000)
    try:
        assert not [line for line in ok("ls").decode().splitlines()
                    if "blocks" in line or f"shm:{name}" in line and "corrupt" not in line]  # fmt: skip
        decisions, _ = gc(DONE)
        assert not decisions[f"shm:{name}"]["orphan"]
        assert "not a Strata segment" in decisions[f"shm:{name}"]["evidence"]
        assert not [uri for uri in decisions if "blocks" in uri]
        assert refusal(REFUSED, "rm", f"shm:{name}")["code"] == "failed_precondition"
        assert SharedMemory(name).size == SharedMemory(f"strata.{name}").size == 5000
    finally:
        plain.unlink()
        in_our_names.unlink()
