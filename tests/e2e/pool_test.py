"""`strata pool`: what it says of a pool, and what it changes, beside what was put in."""

import errno
import json
import os
import shutil
import stat
import subprocess

import pytest

from tests.e2e.command import (
    DONE, FAILED, NOT_FOUND, REFUSED, USAGE, Holder, as_json, new_name, ok, refusal, strata)

MAKE_HEAP = os.path.abspath(os.environ.get("MAKE_HEAP", "tests/e2e/make_heap"))
BLOCK = 64 * 1024


@pytest.fixture
def pool(tmp_path):
    path = tmp_path / "run.pool"
    ok("pool", "create", path, "--size", "32M")
    return path


@pytest.fixture
def heap_pool(pool):
    uri = f"pmem:{pool}#table"
    subprocess.run([MAKE_HEAP, uri], check=True, timeout=60)
    # It makes the transaction log, and leaves a lock behind.
    subprocess.run([MAKE_HEAP, uri, "--die-holding"], check=False, timeout=60)
    return pool


def put(pool, tmp_path, content, *arguments):
    (tmp_path / "content").write_bytes(content)
    return as_json("pool", "import", pool, "model", tmp_path / "content", *arguments)


def get(pool, tmp_path, *arguments):
    ok("pool", "export", pool, "model", tmp_path / "out", "--replace", *arguments)
    return (tmp_path / "out").read_bytes()


def flip(path, offset, mask=0x10):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def outcomes(pool):
    run = strata("pool", "check", pool, "--json")
    report = json.loads(run.stdout)
    assert (run.returncode == 0) == report["is_sound"] == (report["verdict"] == "sound")
    return {item["what"]: item for item in report["items"]}


def payload_offset(pool, name="table"):
    (segment,) = [s for s in as_json("pool", "ls", pool)["segments"] if s["name"] == name]
    return segment["payload_offset_bytes"]


def test_check_says_that_it_verified_heap_objects_log_and_locks(heap_pool):
    item = outcomes(heap_pool)["content of table version 1"]
    assert item["outcome"] == "sound"
    for part in ("heap: ", "2 named objects", "transaction log: ", "1 named locks"):
        assert part in item["detail"]


def test_check_finds_damage_in_a_heap_and_in_its_log(heap_pool):
    first = payload_offset(heap_pool)
    with open(heap_pool, "rb") as file:
        file.seek(first)
        log = file.read(4 << 20).index(b"STRATLOG")
    for offset, word in ((16, "heap"), (log + 16, "log")):
        flip(heap_pool, first + offset)
        item = outcomes(heap_pool)["content of table version 1"]
        assert item["outcome"] == "damaged" and f"wrong: {word}" in item["detail"], item
        flip(heap_pool, first + offset)
    assert outcomes(heap_pool)["content of table version 1"]["outcome"] == "sound"


def test_dump_prints_objects_with_their_types(heap_pool):
    dump = as_json("pool", "dump", heap_pool, "table")
    table = {o["name"]: o for o in dump["objects"]}["table"]
    assert table["type"].endswith("Table") and table["bytes"] == 16
    assert table["hex"].startswith("6400000000000000")  # 100 rows
    text = ok("pool", "dump", heap_pool, "table", "--object", "table").decode()
    assert "Table, 16 B at 0x" in text and "64 00 00 00" in text and "RobustMutex" not in text
    refusal(NOT_FOUND, "pool", "dump", heap_pool, "table", "--object", "chair")


def test_dump_prints_bytes_and_never_damaged_ones(pool, tmp_path):
    put(pool, tmp_path, b"0123456789abcdef" * BLOCK)
    dump = as_json("pool", "dump", pool, "model", "--offset", 16, "--bytes", 4)
    assert dump["hex"] == b"0123".hex() and dump["is_verified"]
    flip(pool, payload_offset(pool, "model") + 20)
    assert refusal(FAILED, "pool", "dump", pool, "model", "--offset", 16, "--bytes", 2)
    assert as_json("pool", "dump", pool, "model", "--offset", BLOCK, "--bytes", 2)["hex"] == "3031"
    refusal(USAGE, "pool", "dump", pool, "model", "--offset", 1 << 40)


def test_rollback_makes_an_older_version_current(pool, tmp_path):
    for letter in b"abcd":
        put(pool, tmp_path, bytes([letter]) * 100_000, "--keep", 3)
    assert get(pool, tmp_path) == b"d" * 100_000
    assert as_json("pool", "rollback", pool, "model")["version"] == 3
    assert get(pool, tmp_path) == b"c" * 100_000
    assert as_json("pool", "rollback", pool, "model", "--version", 1)["version"] == 1
    assert get(pool, tmp_path) == b"a" * 100_000
    refusal(NOT_FOUND, "pool", "rollback", pool, "model", "--version", 9)
    assert get(pool, tmp_path) == b"a" * 100_000
    # What comes next is newer than all that there ever was, not a second version 2.
    assert put(pool, tmp_path, b"e" * 100_000, "--keep", 3)["version"] > 4
    assert get(pool, tmp_path) == b"e" * 100_000


def test_load_brings_a_verified_version_into_memory(pool, tmp_path):
    content = os.urandom(300_000)
    put(pool, tmp_path, b"older" * 60_000, "--keep", 1)
    put(pool, tmp_path, content, "--keep", 1)
    uri = "shm:" + new_name()
    ok("create", uri, "--size", "300000")
    try:
        ok("pool", "load", pool, "model", uri)
        assert ok("cat", uri)[: len(content)] == content
        ok("pool", "load", pool, "model", uri, "--version", 1)
        assert ok("cat", uri)[: len(content)] == b"older" * 60_000
        current = [
            s for s in as_json("pool", "ls", pool)["segments"] if s["state"] == "current"
        ]
        flip(pool, current[0]["payload_offset_bytes"] + 2 * BLOCK + 7)
        error = refusal(FAILED, "pool", "load", pool, "model", uri)
        assert "block 2" in error["message"]
    finally:
        ok("rm", "--force", uri)


def test_repair_in_place_keeps_the_sound_and_the_damaged_file(pool, tmp_path):
    put(pool, tmp_path, b"sound" * 20_000, "--keep", 1)
    put(pool, tmp_path, b"flips" * 20_000, "--keep", 1)
    current = [s for s in as_json("pool", "ls", pool)["segments"] if s["state"] == "current"]
    flip(pool, current[0]["payload_offset_bytes"] + 1)
    before = pool.read_bytes()
    report = as_json("pool", "repair", pool, "--in-place")
    assert report["path"] == str(pool) and report["versions_kept"] == 1
    assert len(report["lost"]) == 1 and "model" in report["lost"][0]
    with open(report["damaged_path"], "rb") as damaged:
        assert damaged.read() == before
    assert all(item["outcome"] == "sound" for item in outcomes(pool).values())
    assert get(pool, tmp_path) == b"sound" * 20_000
    assert subprocess.run(["pmempool", "check", pool], check=False).returncode == 0


def test_snapshot_says_how_it_was_made_and_goes_its_own_way(pool, tmp_path):
    put(pool, tmp_path, b"before")
    made = as_json("pool", "snapshot", pool, tmp_path / "before.pool")
    assert made["method"] in ("reflink", "copy")
    put(pool, tmp_path, b"behind")
    assert get(tmp_path / "before.pool", tmp_path) == b"before"
    assert get(pool, tmp_path) == b"behind"
    assert all(i["outcome"] == "sound" for i in outcomes(tmp_path / "before.pool").values())


@pytest.fixture
def xfs(tmp_path):
    """A directory on XFS, which copies by reference."""
    mkfs = shutil.which("mkfs.xfs", path="/usr/sbin:/sbin:/usr/bin")
    if mkfs is None:
        pytest.skip("no mkfs.xfs (Debian: xfsprogs)")
    image, directory = tmp_path / "xfs.img", tmp_path / "xfs"
    image.touch()
    os.truncate(image, 320 << 20)
    directory.mkdir()
    subprocess.run([mkfs, "-q", "-m", "reflink=1", image], check=True, timeout=60)
    mounted = subprocess.run(["mount", "-o", "loop", image, directory],
                             capture_output=True, text=True, timeout=60)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount XFS here: {mounted.stderr.strip()}")
    yield directory
    subprocess.run(["umount", directory], check=True, timeout=60)


def test_a_snapshot_on_xfs_takes_no_room_for_what_is_in_segments(xfs, tmp_path):
    pool, content = xfs / "run.pool", os.urandom(16 << 20)
    ok("pool", "create", pool, "--size", "64M")
    put(pool, tmp_path, content)
    free = shutil.disk_usage(xfs).free
    assert as_json("pool", "snapshot", pool, xfs / "before.pool")["method"] == "reflink"
    assert free - shutil.disk_usage(xfs).free < 8 << 20  # libpmemobj's logs and heads
    put(pool, tmp_path, b"behind")
    assert get(xfs / "before.pool", tmp_path) == content


def take_all_room(directory):
    """A file that has every block of the file system that was free."""
    path = directory / "ballast"
    with open(path, "wb") as file:
        end = 0
        for chunk in (1 << 20, 64 << 10, 4 << 10):
            try:
                while True:
                    os.posix_fallocate(file.fileno(), end, chunk)
                    end += chunk
            except OSError as error:
                assert error.errno == errno.ENOSPC
        os.fsync(file.fileno())
    return path


@pytest.mark.parametrize("copy_with", ["strata pool snapshot", "cp --reflink"])
def test_on_a_full_disk_a_pool_with_blocks_that_a_copy_has_too_is_refused_and_whole(
        xfs, tmp_path, copy_with):
    pool, copy = xfs / "run.pool", xfs / "copy.pool"
    content, other = os.urandom(4 << 20), tmp_path / "other"
    other.write_bytes(os.urandom(4 << 20))
    ok("pool", "create", pool, "--size", "64M")
    for _ in range(2):  # the older is a spare, which the next import stores into
        put(pool, tmp_path, os.urandom(4 << 20), "--keep", "1")
    put(pool, tmp_path, content, "--keep", "1")
    ok("put", tmp_path / "content", f"pmem:{pool}#table")
    if copy_with == "cp --reflink":
        subprocess.run(["cp", "--reflink=always", pool, copy], check=True, timeout=60)
    else:
        assert as_json("pool", "snapshot", pool, copy)["method"] == "reflink"
    ballast = take_all_room(xfs)
    # A store into a block that has to be copied first would end the process by SIGBUS.
    changes = [
        ("put", "--in-place", other, f"pmem:{pool}#table"),
        ("grow", f"pmem:{pool}#table", "--size", "6M"),
        ("create", f"pmem:{pool}#new", "--size", "1M"),
        ("pool", "import", pool, "model", other, "--keep", "1"),
        ("pool", "import", copy, "model", other, "--keep", "1"),
        ("pool", "rollback", copy, "model"),
        ("pool", "rm", copy, "table"),
        ("pool", "snapshot", pool, xfs / "second.pool"),
        ("put", "--in-place", other, f"pmem:{copy}#model"),
    ]
    refused = []
    for change in changes:
        run = strata(*change)
        assert run.returncode in (DONE, FAILED, USAGE, NOT_FOUND, REFUSED), (change, run)
        if b"No space left" in run.stderr:
            refused.append(change)
    assert refused
    for each in (pool, copy):
        assert get(each, tmp_path) in (content, other.read_bytes()), each
        ok("pool", "check", each)
    ballast.unlink()
    for each in (pool, copy):
        ok("pool", "import", each, "model", other)
        ok("put", "--in-place", other, f"pmem:{each}#table")
        ok("pool", "check", each)
        assert get(each, tmp_path) == other.read_bytes()


@pytest.mark.parametrize("command", ["ls", "info"])
def test_what_a_killed_changer_left_is_looked_at_as_by_any_use(pool, tmp_path, command):
    put(pool, tmp_path, os.urandom(200_000))
    sequence_at = as_json("pool", "info", pool)["directory_offset_bytes"] + 128
    with open(pool, "r+b") as file:
        file.seek(sequence_at)
        file.write((1001).to_bytes(8, "little"))  # odd: a change is under way
    (segment,) = as_json("pool", command, pool)["segments"]
    assert segment["name"] == "model" and segment["problem"] is None
    with open(pool, "rb") as file:
        file.seek(sequence_at)
        assert int.from_bytes(file.read(8), "little") % 2 == 0


def test_a_backup_becomes_the_same_pool_elsewhere(pool, tmp_path):
    content = os.urandom(200_000)
    put(pool, tmp_path, content)
    ok("pool", "backup", pool, tmp_path / "run.backup")
    other = tmp_path / "other.pool"
    ok("pool", "restore", other, tmp_path / "run.backup")
    assert get(other, tmp_path) == content


def test_grow_keeps_everything(pool, tmp_path):
    content = os.urandom(200_000)
    put(pool, tmp_path, content)
    ok("pool", "grow", pool, "--size", "48M")
    assert as_json("pool", "info", pool)["file_bytes"] == 48 << 20
    assert get(pool, tmp_path) == content


def test_create_takes_the_mode_that_is_asked_for(tmp_path):
    made = tmp_path / "group.pool"
    ok("pool", "create", made, "--size", "8M", "--mode", "0660")
    assert stat.S_IMODE(made.stat().st_mode) == 0o660
    ok("pool", "create", tmp_path / "own.pool", "--size", "8M")
    assert stat.S_IMODE((tmp_path / "own.pool").stat().st_mode) == 0o600
    refusal(USAGE, "pool", "create", tmp_path / "x.pool", "--size", "8M", "--mode", "rw")
    assert not (tmp_path / "x.pool").exists()


def test_grow_and_repair_through_a_link_keep_the_link(pool, tmp_path):
    content = os.urandom(200_000)
    put(pool, tmp_path, content)
    link = tmp_path / "link.pool"
    link.symlink_to(pool.name)
    ok("pool", "grow", link, "--size", "48M")
    ok("pool", "repair", link, "--in-place")
    assert link.is_symlink() and not (tmp_path / "link.pool.damaged").exists()
    assert pool.stat().st_size == 48 << 20 and get(link, tmp_path) == content
    twin = tmp_path / "twin.pool"
    twin.hardlink_to(pool)
    for change in (("grow", "--size", "64M"), ("repair", "--in-place")):
        error = refusal(REFUSED, "pool", change[0], pool, *change[1:])
        assert "hard links" in error["message"]
    assert twin.samefile(pool)


def test_repair_in_place_is_refused_while_the_pool_is_in_use(pool):
    ok("create", f"pmem:{pool}#live", "--size", "1M")
    before = pool.read_bytes()
    holder = Holder(f"pmem:{pool}#held")
    try:
        for how in ([], ["--in-place"]):
            error = refusal(REFUSED, "pool", "repair", pool, *how)
            assert f"pid {holder.process.pid}" in error["message"]
    finally:
        holder.end()
    assert sorted(p.name for p in pool.parent.iterdir()) == [pool.name]
    assert len(before) == pool.stat().st_size


def test_repair_fails_where_it_cannot_tell_whether_it_dropped_objects(pool, tmp_path):
    small = tmp_path / "small.pool"
    ok("pool", "create", small, "--size", "8M")
    put(small, tmp_path, b"content")
    flip(small, 2220302, 84)  # in a lane's log: libpmemobj dies of it when it opens the pool
    run = strata("pool", "repair", small)
    assert run.returncode == FAILED
    assert b"lost: objects that are no segments, if there were any" in run.stdout
    assert get(tmp_path / "small.pool.repaired", tmp_path) == b"content"
    ok("pool", "repair", small, "--in-place", "--drop-objects")
    assert get(small, tmp_path) == b"content"
