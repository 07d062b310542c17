"""The commands that look into a heap: objects, heap, locks, check, top."""

import json
import os
import signal
import struct
import subprocess

import pytest

from tests.e2e.command import (
    FAILED, NOT_FOUND, UNKNOWN, Holder, as_json, new_name, ok, refusal, strata)

MAKE_HEAP = os.path.abspath(os.environ.get("MAKE_HEAP", "tests/e2e/make_heap"))


@pytest.fixture
def uri():
    name = "shm:" + new_name()
    subprocess.run([MAKE_HEAP, name], check=True, timeout=60)
    yield name
    strata("rm", "--force", name)


def test_objects_lists_names_types_and_sizes(uri):
    objects = {o["name"]: o for o in as_json("objects", uri)["objects"]}
    assert set(objects) == {"table", "table.lock"}
    assert objects["table"]["bytes"] == 16
    assert objects["table.lock"]["bytes"] == 64
    assert "table.lock" in ok("objects", uri).decode()


def test_heap_tells_use_and_draws_it(uri, tmp_path):
    svg = tmp_path / "heap.svg"
    heap = as_json("heap", uri, "--svg", svg)
    assert 6400 <= heap["allocated_bytes"] <= heap["span_bytes"] <= heap["payload_bytes"]
    assert sum(c["allocated_bytes"] for c in heap["classes"]) == heap["allocated_bytes"]
    assert 0 < heap["space_used_well"] <= 1 and heap["names"] == 2
    assert svg.read_text().startswith("<svg")


def test_locks_tell_a_free_lock_from_one_whose_owner_died(uri):
    (lock,) = as_json("locks", uri)["locks"]
    assert (lock["name"], lock["state"], lock["counts_contention"]) == ("table.lock", "free", True)
    victim = subprocess.run([MAKE_HEAP, uri, "--die-holding"], check=False, timeout=60)
    assert victim.returncode == -signal.SIGKILL
    (lock,) = as_json("locks", uri)["locks"]
    assert lock["state"] == "owner-died"


def test_info_tells_a_free_lock_of_a_segment_from_one_whose_owner_died(uri):
    assert as_json("info", uri)["lock"] == {
        "state": "free", "last_holder_pid": 0, "owner_deaths": 0}  # fmt: skip
    victim = subprocess.Popen([MAKE_HEAP, uri, "--die-holding-its-own"])
    assert victim.wait(timeout=60) == -signal.SIGKILL
    lock = as_json("info", uri)["lock"]
    assert (lock["state"], lock["last_holder_pid"]) == ("owner-died", victim.pid)
    assert f"owner-died, last taken by pid {victim.pid}" in ok("info", uri).decode()
    assert as_json("check", uri)["sound"] is True


def test_check_finds_a_word_that_no_lock_has_in_the_lock_of_a_segment(uri):
    assert "the segment's own lock" in as_json("check", uri)["verified"]
    with open("/dev/shm/strata." + uri.removeprefix("shm:"), "r+b") as file:
        file.seek(3584)
        file.write(struct.pack("<Q", 1 << 32 | 1 << 30))  # somebody sleeps, and nobody holds it
    run = strata("check", "--json", uri)
    assert run.returncode == FAILED
    assert [found["part"] for found in json.loads(run.stdout)["findings"]] == [
        "the segment's own lock"]  # fmt: skip
    assert as_json("info", uri)["lock"]["state"] == "corrupt"


def test_check_says_what_it_verified(uri):
    result = as_json("check", uri)
    assert result["sound"] is True
    assert any("heap" in line for line in result["verified"])
    assert any("1 named locks" in line for line in result["verified"])
    assert "sound" in ok("check", uri).decode()


def test_check_changes_nothing_and_calls_what_a_dead_process_left_harmless(uri):
    subprocess.run([MAKE_HEAP, uri, "--die-holding"], check=False, timeout=60)
    path = "/dev/shm/strata." + uri.removeprefix("shm:")
    with open(path, "rb") as file:
        before = file.read()
    result = as_json("check", uri)
    assert result["sound"] is True
    assert all(finding["harmless"] for finding in result["findings"])
    with open(path, "rb") as file:
        assert file.read() == before


def test_check_finds_damage(uri):
    (lock,) = [o for o in as_json("objects", uri)["objects"] if o["name"] == "table.lock"]
    payload_offset = os.path.getsize("/dev/shm/strata." + uri.removeprefix("shm:")) - (4 << 20)
    with open("/dev/shm/strata." + uri.removeprefix("shm:"), "r+b") as file:
        file.seek(payload_offset + 16)  # magic and version stay: it is a heap, and damaged
        file.write(bytes([0xA5]) * 56)
    run = strata("check", uri, "--json")
    assert run.returncode == FAILED
    assert b'"sound": false' in run.stdout and b'"verdict": "damaged"' in run.stdout
    assert lock["bytes"] == 64


def test_a_heap_of_another_format_is_unknown_to_a_check(uri):
    path = "/dev/shm/strata." + uri.removeprefix("shm:")
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) - (4 << 20) + 8)
        file.write(bytes([0xA5]) * 2)
    run = strata("check", uri, "--json")
    assert run.returncode == UNKNOWN
    assert b'"verdict": "unknown"' in run.stdout and b"42405" in run.stdout


def test_a_segment_without_a_heap_is_sound_and_has_no_objects():
    name = "shm:" + new_name()
    ok("create", name, "--size", "1M")
    try:
        assert as_json("check", name)["sound"] is True
        for command in ["objects", "heap", "locks"]:
            assert refusal(NOT_FOUND, command, name)["code"] == "not_found"
        ok("rm", name)
        ok("put", "/bin/sh", name)
        assert as_json("check", name)["sound"] is True
    finally:
        ok("rm", name)


def test_check_compares_sealed_content():
    name = "shm:" + new_name()
    path = "/dev/shm/strata." + name.removeprefix("shm:")
    ok("create", name, "--size", "1M")
    ok("seal", name)
    try:
        assert as_json("check", name)["sound"] is True
        os.chmod(path, 0o600)
        with open(path, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"!")
        assert strata("check", name).returncode == FAILED
    finally:
        strata("rm", "--force", name)


def test_top_tells_who_is_attached():
    name = "shm:" + new_name()
    holder = Holder(name)
    segments = {s["uri"]: s for s in as_json("top", "--interval", "0.05")["segments"]}
    assert (segments[name]["users"], segments[name]["writers"]) == (1, 1)
    assert name in ok("top", "--interval", "0.05", "--rounds", "2").decode()
    holder.end()
