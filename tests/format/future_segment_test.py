"""Segments as a later `strata` may write them: with features, and versions, that this one does not
know. docs/format/header.md says what it does with each."""

import os
import struct

import pytest

from tests.e2e.command import FAILED, UNKNOWN, as_json, new_name, ok, refusal, strata
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

    def with_features(self, **masks):
        (notes,) = [
            each for each in as_json("pool", "ls", self.path)["segments"] if each["name"] == "notes"
        ]
        rewrite_header(
            self.path,
            lambda page: golden.with_features(page, **masks),
            notes["payload_offset_bytes"] - PAGE_BYTES,
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


def set_required_features(pool, bits):
    with open(pool, "r+b") as file:
        file.seek(6144)
        (root,) = struct.unpack("<Q", file.read(8))
        file.seek(root)
        header = bytearray(file.read(128))
        assert header.startswith(b"STRADIR1")
        struct.pack_into("<Q", header, 24, bits)
        struct.pack_into("<I", header, 124, golden.crc32c(bytes(header[:124])))
        file.seek(root)
        file.write(header)


def test_a_pool_with_a_feature_that_must_be_known_is_refused_and_not_changed(pool):
    before = as_json("pool", "ls", pool.path)
    set_required_features(pool.path, BITS)
    for command in (
        ["cat", pool.notes],
        ["grow", pool.notes, "8000"],
        ["pool", "import", pool.path, "model", os.path.realpath(__file__)],
        ["pool", "rm", pool.path, "closed"],
    ):
        error = refusal(FAILED, *command)
        assert error["code"] == "unsupported" and f"{BITS:#x}" in error["message"]
    assert f"{BITS:#x}" in refusal(FAILED, "pool", "ls", pool.path)["message"]
    # Of a program that knows it, in its place.
    set_required_features(pool.path, 0)
    assert as_json("pool", "ls", pool.path) == before
    assert as_json("pool", "check", pool.path)["verdict"] == "sound"
