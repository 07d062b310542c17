"""Segments, pools and backups as a later `strata` may write them: with features, and versions, that
this one does not know. The pages of docs/format/ say what it does with each."""

import json
import os
import struct

import pytest

from tests.e2e.command import DONE, FAILED, UNKNOWN, as_json, new_name, ok, refusal, strata
from tests.format import golden

BITS = 0x8000000000000004
CONTENT = golden.text("future", 5000)
PAGE_BYTES = 4096


def rewrite_header(path, change, at=0):
    """Lets `change` make another header page of the one at that byte of the file."""
    with open(path, "r+b") as file:
        file.seek(at)
        page = file.read(PAGE_BYTES)
        assert page.startswith(b"STRATA\r\n")
        file.seek(at)
        file.write(change(page))


class Future:
    """A segment of a later program, its content, and a file to overwrite that with."""

    def __init__(self, folder):
        self.uri = "shm:" + new_name()
        self.name = self.uri.removeprefix("shm:")
        self.path = golden.shm_path(self.uri)
        self.job = self.name + "-job"
        self.file = folder / "content"
        self.file.write_bytes(CONTENT)
        self.other = folder / "other"
        self.other.write_bytes(CONTENT.upper())
        ok("put", self.file, self.uri, "--max-size", "64K", "--lifetime", "job", "--job", self.job)

    def with_features(self, **masks):
        rewrite_header(self.path, lambda page: golden.with_features(page, **masks))
        return self

    def bytes(self):
        with open(self.path, "rb") as file:
            return file.read()

    def listed(self):
        (found,) = as_json("ls", self.name)["segments"]
        return found

    def is_orphan_of_ended_job(self):
        looked = as_json("gc", "--dry-run", "--job", self.job)["candidates"]
        (candidate,) = [each for each in looked if each["uri"] == self.uri]
        return candidate["orphan"]

    def writers(self):
        return [
            ("put", self.other, self.uri, "--in-place"),
            ("grow", self.uri, "9000"),
            ("seal", self.uri),
            ("migrate", self.uri, "--node", "0"),
        ]


@pytest.fixture
def future(tmp_path):
    made = Future(tmp_path)
    yield made
    strata("rm", "--force", made.uri)
    if os.path.exists(made.path):
        os.unlink(made.path)


def test_a_feature_that_may_be_ignored_changes_nothing(future):
    future.with_features(ignorable=BITS)
    assert ok("cat", future.uri) == CONTENT
    assert future.listed()["problem"] is None
    assert as_json("check", future.uri)["verdict"] == "sound"
    for command in future.writers():
        ok(*command)
    assert ok("cat", future.uri).startswith(CONTENT.upper())
    ok("verify", future.uri)
    assert future.is_orphan_of_ended_job()
    ok("rm", future.uri)


def test_a_feature_that_must_be_known_to_write_leaves_a_segment_to_readers(future):
    before = future.with_features(read_only=BITS).bytes()
    assert ok("cat", future.uri) == CONTENT
    assert as_json("info", future.uri)["payload_bytes"] == len(CONTENT)
    assert future.listed()["problem"] is None
    assert as_json("check", future.uri)["verdict"] == "sound"
    ok("map", future.uri)
    for command in future.writers():
        error = refusal(FAILED, *command)
        assert error["code"] == "unsupported"
        assert f"{BITS:#x}" in error["message"] and "read-only" in error["message"]
    assert future.bytes() == before


def test_what_must_be_known_to_write_need_not_be_known_to_remove(future):
    future.with_features(read_only=BITS)
    assert future.is_orphan_of_ended_job()
    ok("rm", future.uri)
    assert not os.path.exists(future.path)


def test_a_feature_that_must_be_known_refuses_everybody_and_names_its_bits(future):
    before = future.with_features(required=BITS).bytes()
    readers = [(each, future.uri) for each in ("info", "cat", "map", "verify", "heap", "objects")]
    for command in readers + future.writers():
        error = refusal(FAILED, *command)
        assert error["code"] == "unsupported", command
        assert f"{BITS:#x}" in error["message"], command
    run = strata("check", future.uri)
    assert run.returncode == UNKNOWN and f"{BITS:#x}" in run.stdout.decode()
    assert future.bytes() == before


def test_a_segment_that_is_not_understood_is_listed_kept_by_gc_and_removed_by_rm(future):
    future.with_features(required=BITS)
    listed = future.listed()
    assert listed["problem"]["code"] == "unsupported"
    assert f"{BITS:#x}" in listed["problem"]["message"]
    assert not future.is_orphan_of_ended_job()
    ok("rm", future.uri)
    assert not os.path.exists(future.path)


@pytest.mark.parametrize("mask", ["required", "read_only", "ignorable"])
def test_a_feature_with_a_wrong_checksum_is_damage(future, mask):
    def flip(page):
        page = bytearray(page)
        page[golden.FEATURES[mask]] ^= 4
        return page

    rewrite_header(future.path, flip)
    assert refusal(FAILED, "cat", future.uri)["code"] == "corrupt"


def test_a_later_minor_version_is_read_and_another_major_one_is_not(future):
    def with_version(major, minor):
        def change(page):
            page = bytearray(page)
            struct.pack_into("<HH", page, 8, major, minor)
            return golden.sign(page)

        rewrite_header(future.path, change)

    with_version(1, 7)
    assert ok("cat", future.uri) == CONTENT
    with_version(2, 0)
    error = refusal(FAILED, "cat", future.uri)
    assert error["code"] == "unsupported" and "2.0" in error["message"]
    assert not future.is_orphan_of_ended_job()


def test_a_heap_with_a_feature_that_must_be_known_is_refused():
    with golden.placed("heap_segment_v2.bin") as uri:
        with open(golden.shm_path(uri), "r+b") as file:
            file.seek(PAGE_BYTES)
            identity = bytearray(file.read(golden.IDENTITY_BYTES))
            struct.pack_into("<Q", identity, 16, 4)
            file.seek(PAGE_BYTES)
            file.write(golden.sign(identity))
        for command in ("objects", "heap", "locks"):
            error = refusal(FAILED, command, uri)
            assert error["code"] == "unsupported" and "0x4" in error["message"]


class FuturePool:
    def __init__(self, path):
        self.path = golden.unpack("pool_v1.pool", path)
        self.notes = f"pmem:{path}#notes"

        (notes,) = [
            each for each in as_json("pool", "ls", self.path)["segments"] if each["name"] == "notes"
        ]
        self.header_at = notes["payload_offset_bytes"] - PAGE_BYTES

    def with_features(self, **masks):
        rewrite_header(
            self.path, lambda page: golden.with_features(page, **masks), self.header_at
        )


@pytest.fixture
def pool(tmp_path):
    return FuturePool(tmp_path / "golden.pool")


def test_a_segment_in_a_pool_may_have_features_that_are_ignored(pool):
    pool.with_features(ignorable=BITS)
    assert ok("cat", pool.notes) == golden.NOTES
    ok("grow", pool.notes, "8000")


def test_a_segment_in_a_pool_is_left_to_readers_too(pool):
    pool.with_features(read_only=BITS)
    assert ok("cat", pool.notes) == golden.NOTES
    for command in (["grow", pool.notes, "8000"], ["seal", pool.notes]):
        error = refusal(FAILED, *command)
        assert error["code"] == "unsupported" and "read-only" in error["message"]
    ok("rm", pool.notes)


def test_a_segment_in_a_pool_that_is_not_understood_stops_none_of_the_others(pool):
    pool.with_features(required=BITS)
    error = refusal(FAILED, "cat", pool.notes)
    assert error["code"] == "unsupported" and f"{BITS:#x}" in error["message"]
    assert ok("cat", f"pmem:{pool.path}#weights") == golden.WEIGHTS


def test_a_pool_is_not_rewritten_without_what_a_segment_in_it_has(pool, tmp_path):
    for mask, verdict in (("required", UNKNOWN), ("read_only", DONE)):
        pool.with_features(**{"required": 0, "read_only": 0, mask: BITS})
        listed = as_json("pool", "ls", pool.path)
        run = strata("pool", "check", pool.path)
        assert run.returncode == verdict, run.stdout
        assert b"DAMAGED" not in run.stdout and b"damaged" not in run.stdout
        ok("pool", "backup", pool.path, tmp_path / mask)
        for command in (
            ["pool", "grow", pool.path, "--size", "16M"],
            ["pool", "repair", pool.path],
            ["pool", "repair", pool.path, "--in-place"],
            ["pool", "restore", tmp_path / "restored", tmp_path / mask],
        ):
            error = refusal(FAILED, *command)
            assert error["code"] == "unsupported" and f"{BITS:#x}" in error["message"], error
        assert sorted(os.listdir(tmp_path)) == sorted([mask, pool.path.name])
        os.unlink(tmp_path / mask)
        assert as_json("pool", "ls", pool.path) == listed


# Bytes of a directory's header, and of a backup's: what they say of who may use it.
DIRECTORY = {"major": ("<H", 8), "ignorable": ("<Q", 16), "required": ("<Q", 24)}
DIRECTORY["read_only"] = ("<Q", 32)
DIRECTORY["sequence"] = ("<Q", 128)
BACKUP = {"major": ("<H", 16)}
ROOT_OFFSET = 6144


def rewrite(path, at, magic, words):
    """Puts these words into the 128 bytes of a header, and makes its checksum right."""
    with open(path, "r+b") as file:
        file.seek(at)
        header = bytearray(file.read(192))
        assert header.startswith(magic)
        for (form, place), value in words:
            struct.pack_into(form, header, place, value)
        struct.pack_into("<I", header, 124, golden.crc32c(bytes(header[:124])))
        file.seek(at)
        file.write(header)


def root_of(pool):
    with open(pool, "rb") as file:
        file.seek(ROOT_OFFSET)
        return struct.unpack("<Q", file.read(8))[0]


def rewrite_directory(pool, **words):
    rewrite(pool, root_of(pool), b"STRADIR1", [(DIRECTORY[name], words[name]) for name in words])


def changes_of(pool, tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    path, other = pool.path, f"pmem:{pool.path}#other"
    return [
        ("pool", "import", path, "model", tmp_path / "file"),
        ("pool", "rm", path, "weights"),
        ("pool", "rollback", path, "model"),
        ("pool", "grow", path, "--size", "16M"),
        ("pool", "checkpoint", path, "model", f"pmem:{path}#weights"),
        ("pool", "snapshot", path, tmp_path / "copy"),
        ("pool", "repair", path, "--to", tmp_path / "repaired"),
        ("pool", "repair", path, "--in-place"),
        ("put", tmp_path / "file", pool.notes, "--in-place"),
        ("put", tmp_path / "file", other),
        ("create", other, "--size", "1K"),
        ("grow", pool.notes, "8000"),
        ("seal", pool.notes),
        ("rm", pool.notes),
        ("rm", "--force", pool.notes),
    ]


def readers_of(pool, tmp_path):
    path = pool.path
    return [
        ("cat", pool.notes),
        ("info", pool.notes),
        ("pool", "ls", path),
        ("pool", "info", path),
        ("pool", "export", path, "model", tmp_path / "exported"),
        ("pool", "dump", path, "notes"),
        ("pool", "backup", path, tmp_path / "backup"),
    ]


def test_a_feature_of_a_pool_that_may_be_ignored_changes_nothing(pool, tmp_path):
    rewrite_directory(pool.path, ignorable=BITS)
    for command in readers_of(pool, tmp_path):
        ok(*command)
    (tmp_path / "file").write_bytes(b"content")
    ok("pool", "import", pool.path, "model", tmp_path / "file")
    ok("grow", pool.notes, "8000")
    assert as_json("pool", "check", pool.path)["verdict"] == "sound"


def test_a_feature_that_must_be_known_to_write_leaves_a_pool_to_readers(pool, tmp_path):
    rewrite_directory(pool.path, read_only=BITS)
    before = pool.path.read_bytes()
    for command in readers_of(pool, tmp_path):
        ok(*command)
    assert ok("cat", pool.notes) == golden.NOTES
    assert as_json("pool", "info", pool.path)["unknown_read_only_features"] == BITS
    assert f"{BITS:#x}".encode() in ok("pool", "info", pool.path)
    assert as_json("pool", "check", pool.path)["verdict"] == "sound"
    assert f"{BITS:#x}".encode() in ok("pool", "check", pool.path)
    ok("pool", "restore", tmp_path / "restored", tmp_path / "backup")
    assert ok("cat", f"pmem:{tmp_path}/restored#notes") == golden.NOTES
    assert pool.path.read_bytes() == before


def test_whoever_would_change_a_pool_must_know_its_read_only_features(pool, tmp_path):
    rewrite_directory(pool.path, read_only=BITS)
    before = pool.path.read_bytes()
    for command in changes_of(pool, tmp_path):
        error = refusal(FAILED, *command)
        assert error["code"] == "unsupported", (command, error)
        assert f"read-only features {BITS:#x}" in error["message"], (command, error)
        assert "newer strata" in error["message"], (command, error)
        assert pool.path.read_bytes() == before, command
    assert sorted(os.listdir(tmp_path)) == ["file", "golden.pool"]


@pytest.mark.parametrize("word, value", [("required", BITS), ("major", 2)])
def test_a_pool_that_is_not_understood_is_refused_and_not_changed(pool, tmp_path, word, value):
    listed = as_json("pool", "ls", pool.path)
    rewrite_directory(pool.path, **{word: value})
    before = pool.path.read_bytes()
    named = {"required": f"required features {BITS:#x}", "major": "version 2.0"}[word]
    readers = [each for each in readers_of(pool, tmp_path) if each[:2] != ("pool", "info")]
    for command in readers + changes_of(pool, tmp_path):
        error = refusal(FAILED, *command)
        assert error["code"] == "unsupported", (command, error)
        assert named in error["message"], (command, error)
    run = strata("pool", "info", pool.path, "--json")
    facts = json.loads(run.stdout)
    assert run.returncode == FAILED and facts["problem_code"] == "unsupported"
    assert named in facts["problem"]
    run = strata("pool", "check", pool.path)
    assert run.returncode == UNKNOWN and named.encode() in run.stdout, run.stdout
    assert b"damaged" not in run.stdout
    assert pool.path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["file", "golden.pool"]
    # Of a program that knows it, in its place.
    rewrite_directory(pool.path, **{word: {"required": 0, "major": 1}[word]})
    assert as_json("pool", "ls", pool.path) == listed
    assert as_json("pool", "check", pool.path)["verdict"] == "sound"


@pytest.mark.parametrize("word", ["required", "read_only", "major"])
def test_a_damaged_header_of_a_directory_is_not_believed(pool, word):
    with open(pool.path, "r+b") as file:
        at = root_of(pool.path) + DIRECTORY[word][1]
        file.seek(at)
        flipped = file.read(1)[0] ^ 4
        file.seek(at)
        file.write(bytes([flipped]))
    assert refusal(FAILED, "cat", pool.notes)["code"] == "corrupt"
    assert strata("pool", "check", pool.path).returncode == FAILED
    ok("pool", "repair", pool.path, "--in-place")
    assert ok("cat", pool.notes) == golden.NOTES


@pytest.mark.parametrize("is_later", [True, False])
def test_a_repair_finds_the_header_that_nothing_leads_to(pool, tmp_path, is_later):
    rewrite_directory(pool.path, read_only=BITS if is_later else 0)
    with open(pool.path, "r+b") as file:
        file.seek(ROOT_OFFSET)
        file.write(bytes(8))
    repair = ["pool", "repair", pool.path, "--drop-objects", "--to", tmp_path / "repaired"]
    if is_later:
        before = pool.path.read_bytes()
        error = refusal(FAILED, *repair)
        assert error["code"] == "unsupported" and f"{BITS:#x}" in error["message"]
        assert pool.path.read_bytes() == before and not os.path.exists(tmp_path / "repaired")
    else:
        ok(*repair)
        assert ok("cat", f"pmem:{tmp_path}/repaired#notes") == golden.NOTES


def test_an_interrupted_change_of_a_later_program_is_left_to_one(pool):
    rewrite_directory(pool.path, read_only=BITS, sequence=12345)
    before = pool.path.read_bytes()
    for command in (["cat", pool.notes], ["pool", "rm", pool.path, "weights"]):
        error = refusal(FAILED, *command)
        assert error["code"] == "unsupported" and f"{BITS:#x}" in error["message"]
    assert strata("pool", "check", pool.path).returncode == UNKNOWN
    assert pool.path.read_bytes() == before


def test_a_backup_of_a_later_version_is_refused_and_a_damaged_one_is_damaged(pool, tmp_path):
    backup, restored = tmp_path / "backup", tmp_path / "restored"
    ok("pool", "backup", pool.path, backup)
    rewrite(backup, 0, b"STRABAK1", [(BACKUP["major"], 2)])
    error = refusal(FAILED, "pool", "restore", restored, backup)
    assert error["code"] == "unsupported" and "version 2.0" in error["message"]
    with open(backup, "r+b") as file:
        file.seek(BACKUP["major"][1])
        file.write(b"\3")
    assert refusal(FAILED, "pool", "restore", restored, backup)["code"] == "corrupt"
    assert not os.path.exists(restored)
