"""Segments, pools and backups that an earlier `strata` wrote, through the command of today."""

import hashlib
import json
import os
import struct

import pytest

from tests.e2e.command import REFUSED, UNKNOWN, as_json, ok, refusal, strata
from tests.format import golden

NAMES = {"closed", "model", "notes", "unfinished", "weights"}


@pytest.fixture
def pool(tmp_path):
    return golden.unpack("pool_v1.pool", tmp_path / "golden.pool")


@pytest.fixture
def restored(tmp_path):
    backup = golden.unpack("backup_v1.backup", tmp_path / "golden.backup")
    path = tmp_path / "restored.pool"
    ok("pool", "restore", path, backup)
    return path


def exported(pool, tmp_path, version):
    ok("pool", "export", pool, "model", tmp_path / "out", "--replace", "--version", version)
    return (tmp_path / "out").read_bytes()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def holds_what_was_put_in(pool, tmp_path):
    report = as_json("pool", "check", pool)
    assert report["verdict"] == "sound", report
    assert report["segments_checked"] == 8 and report["blocks_verified"] == 8
    segments = as_json("pool", "ls", pool)["segments"]
    assert {segment["name"] for segment in segments} == NAMES
    assert all(segment["problem"] is None for segment in segments)
    versions = {s["version"]: s["state"] for s in segments if s["name"] == "model"}
    assert versions == {1: "previous", 2: "previous", 3: "previous", 4: "current"}
    for version, content in golden.MODEL.items():
        assert exported(pool, tmp_path, version) == content
    assert ok("cat", f"pmem:{pool}#weights") == golden.WEIGHTS
    assert ok("cat", f"pmem:{pool}#notes") == golden.NOTES
    ok("verify", f"pmem:{pool}#weights")
    for name in ("closed", "unfinished"):
        objects = as_json("objects", f"pmem:{pool}#{name}")["objects"]
        assert {each["name"]: each["type"] for each in objects} == {
            "the answer": "golden::Answer", "ledger": "golden::Ledger",
            "a lock": "strata::RobustMutex"}  # fmt: skip


def test_what_the_golden_files_hold_is_what_their_sums_say():
    assert [sha256(content)[:16] for content in golden.MODEL.values()] == [
        "cbf15e5f85020a05", "a95c67f311ace179", "4ed39e0c1a25b0db", "76da660395ceecd6"]  # fmt: skip
    assert sha256(golden.WEIGHTS)[:16] == "2ef6eaa3cadf07f6"
    assert sha256(golden.NOTES)[:16] == "91b036bfc3615a76"


def test_a_pool_of_an_earlier_program_holds_all_its_versions(pool, tmp_path):
    holds_what_was_put_in(pool, tmp_path)


def test_looking_at_a_pool_of_an_earlier_program_leaves_its_file_as_it_was(pool):
    before = sha256(pool.read_bytes())
    ok("pool", "ls", pool)
    ok("pool", "info", pool)
    ok("pool", "check", pool)
    ok("cat", f"pmem:{pool}#notes")
    assert sha256(pool.read_bytes()) == before


def test_a_pool_of_an_earlier_program_goes_on_being_changed(pool, tmp_path):
    (tmp_path / "next").write_bytes(b"next" * 20_000)
    assert as_json("pool", "rollback", pool, "model", "--version", 2)["version"] == 2
    assert ok("cat", f"pmem:{pool}#model") == golden.MODEL[2]
    version = as_json("pool", "import", pool, "model", tmp_path / "next", "--keep", 3)["version"]
    assert version > 4 and ok("cat", f"pmem:{pool}#model") == b"next" * 20_000
    ok("grow", f"pmem:{pool}#notes", golden.NOTES_ROOM)
    assert ok("cat", f"pmem:{pool}#notes").rstrip(b"\0") == golden.NOTES
    refusal(REFUSED, "put", tmp_path / "next", f"pmem:{pool}#weights", "--in-place")
    ok("rm", f"pmem:{pool}#weights")
    assert as_json("pool", "check", pool)["verdict"] == "sound"


def test_a_pool_of_an_earlier_program_is_grown_and_backed_up(pool, tmp_path):
    ok("pool", "grow", pool, "--size", "16M")
    holds_what_was_put_in(pool, tmp_path)
    ok("pool", "backup", pool, tmp_path / "backup")
    ok("pool", "restore", tmp_path / "again.pool", tmp_path / "backup")
    holds_what_was_put_in(tmp_path / "again.pool", tmp_path)


def test_a_backup_of_an_earlier_program_becomes_the_pool_that_it_was_of(restored, pool, tmp_path):
    holds_what_was_put_in(restored, tmp_path)
    facts = ("name", "version", "state", "uuid", "payload_bytes", "is_immutable")

    def kept(path):
        segments = as_json("pool", "ls", path)["segments"]
        return sorted(tuple(segment[fact] for fact in facts) for segment in segments)

    assert kept(restored) == kept(pool)


def interrupted(moment, tmp_path):
    pool = golden.unpack(f"pool_{moment}_change_v1.pool", tmp_path / "golden.pool")
    assert golden.is_mid_change(pool.read_bytes()) == (True, moment == "mid")
    return pool


def test_a_change_that_an_earlier_program_died_within_is_undone(tmp_path):
    pool = interrupted("mid", tmp_path)
    assert ok("cat", f"pmem:{pool}#model") == golden.MODEL[4]
    assert golden.is_mid_change(pool.read_bytes()) == (False, False)
    for version, content in golden.MODEL.items():
        assert exported(pool, tmp_path, version) == content
    assert as_json("pool", "check", pool)["verdict"] == "sound"
    (tmp_path / "next").write_bytes(golden.NEXT)
    ok("pool", "import", pool, "model", tmp_path / "next")
    assert ok("cat", f"pmem:{pool}#model") == golden.NEXT


def test_a_change_that_an_earlier_program_died_behind_has_happened(tmp_path):
    pool = interrupted("after", tmp_path)
    assert ok("cat", f"pmem:{pool}#model") == golden.NEXT
    assert golden.is_mid_change(pool.read_bytes()) == (False, False)
    for version in (2, 3, 4):
        assert exported(pool, tmp_path, version) == golden.MODEL[version]
    assert as_json("pool", "check", pool)["verdict"] == "sound"


def test_check_leaves_an_interrupted_change_as_it_is_and_calls_it_unknown(tmp_path):
    pool = interrupted("mid", tmp_path)
    before = sha256(pool.read_bytes())
    run = strata("pool", "check", pool, "--json")
    report = json.loads(run.stdout)
    assert run.returncode == UNKNOWN and report["is_interrupted"], report
    assert not [each for each in report["items"] if each["outcome"] == "damaged"], report
    assert sha256(pool.read_bytes()) == before


def test_the_words_of_a_directory_are_where_the_format_says(pool):
    file = pool.read_bytes()
    assert file[:8] == b"PMEMOBJ\0" and file[4096:4103] == b"strata\0"
    (root,) = struct.unpack_from("<Q", file, 6144)
    directory = file[root:]
    assert directory[:12] == b"STRADIR1" + struct.pack("<HH", 1, 0)
    assert struct.unpack_from("<QQQ", directory, 16) == (0, 0, 0)
    assert struct.unpack_from("<II", directory, 40) == (golden.SLOTS, 512)
    assert struct.unpack_from("<I", directory, 124)[0] == golden.crc32c(directory[:124])
    assert struct.unpack_from("<Q", directory, 128)[0] % 2 == 0
    assert struct.unpack_from("<I", directory, 252)[0] == golden.crc32c(directory[192:252])
    assert struct.unpack_from("<I", directory, 200) == (8,)
    names = []
    for slot in range(golden.SLOTS):
        entry = directory[384 + 512 * slot :][:512]
        index = struct.unpack_from("<II", directory, 256 + 8 * slot)
        name = entry[256:464].rstrip(b"\0")
        if not name:
            assert index[0] == 0
            continue
        assert index == (golden.crc32c(name), golden.crc32c(entry))
        names.append(name.decode())
        (header,) = struct.unpack_from("<Q", entry, 24)
        assert file[header : header + 8] == b"STRATA\r\n"
    assert sorted(names) == sorted([*NAMES, "model", "model", "model"])


def test_the_words_of_a_backup_are_where_the_format_says(tmp_path):
    file = golden.unpack("backup_v1.backup", tmp_path / "golden.backup").read_bytes()
    assert file[:8] == b"STRABAK1"
    assert struct.unpack_from("<QHHI", file, 8) == (0x0102030405060708, 1, 0, 8)
    assert struct.unpack_from("<I", file, 124)[0] == golden.crc32c(file[:124])
    at, found = 128, {}
    for _ in range(8):
        record = file[at : at + 4672]
        assert struct.unpack_from("<I", record, 4668)[0] == golden.crc32c(record[:4668])
        (version,) = struct.unpack_from("<Q", record, 56)
        size, block_bytes, _ = struct.unpack_from("<QII", record, 512 + 4096)
        hashes = -(-size // block_bytes) * 8
        name = record[256:464].rstrip(b"\0").decode()
        found[name, version] = file[at + 4672 + hashes :][:size]
        at += 4672 + hashes + -(-size // 8) * 8
    assert at == len(file)
    assert found["weights", 1] == golden.WEIGHTS and found["notes", 1] == golden.NOTES
    assert {v: found["model", v] for v in golden.MODEL} == golden.MODEL


def test_a_sealed_segment_of_an_earlier_program_verifies_and_is_not_written():
    with golden.placed("segment_sealed_v1.bin") as uri:
        content = golden.segment_text(5000)
        assert ok("cat", uri) == content
        ok("verify", uri)
        assert as_json("check", uri)["verdict"] == "sound"
        assert as_json("info", uri)["state"] == "sealed"
        refusal(REFUSED, "put", os.path.realpath(__file__), uri, "--in-place")
        assert ok("cat", uri) == content
        ok("rm", uri)


def test_a_heap_of_an_earlier_program_shows_its_objects():
    with golden.placed("heap_segment_v2.bin") as uri:
        report = as_json("check", uri)
        assert report["verdict"] == "sound", report
        assert any("transaction log: 4 slots" in line for line in report["verified"])
        objects = {o["name"]: o["bytes"] for o in as_json("objects", uri)["objects"]}
        assert objects == {"the answer": 8, "ledger": 184, "a lock": 64}
        (lock,) = as_json("locks", uri)["locks"]
        assert (lock["name"], lock["state"]) == ("a lock", "free")


def test_a_segment_of_an_ended_job_of_an_earlier_program_is_found_by_its_job():
    with golden.placed("segment_ready_v1.bin") as uri:
        assert as_json("info", uri)["job"] == "slurm-42"
        for arguments, is_orphan in (([], False), (["--job", "slurm-42"], True)):
            looked = as_json("gc", "--dry-run", *arguments)
            (decision,) = [d for d in looked["candidates"] if d["uri"] == uri]
            assert decision["orphan"] == is_orphan, decision
        assert strata("cat", uri).stdout == golden.segment_text(9000)
