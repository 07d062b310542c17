"""The `strata` of an earlier commit and that of today side by side, on the same segments and pools:
a machine where programs are exchanged one after the other has both.

The earlier one is built from the history, which takes minutes, so that this runs under
`./check --all` only. Or it is $STRATA_OLD, with tests/e2e/make_heap of its tree as $MAKE_HEAP_OLD.
"""

import concurrent.futures
import json
import os
import signal
import subprocess

import pytest

from tests.e2e.command import DONE, NOT_FOUND, REFUSED, STRATA, new_name
from tests.format import golden, old_tree

COMMIT = "14d8daa"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
MAKE_HEAP = os.path.abspath(os.environ.get("MAKE_HEAP", "tests/e2e/make_heap"))


class Program:
    """One of the two, as commands are given to it."""

    def __init__(self, name, path, make_heap, overwrites):
        self.name, self.path, self.make_heap, self.overwrites = name, path, make_heap, overwrites

    def run(self, *arguments):
        command = [self.path, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, timeout=300, check=False)

    def ok(self, *arguments):
        run = self.run(*arguments)
        assert run.returncode == DONE, (self.name, arguments, run.stderr.decode())
        return run.stdout

    def json(self, *arguments):
        return json.loads(self.ok(*arguments, "--json"))

    def refuses(self, code, *arguments):
        run = self.run(*arguments)
        assert run.returncode == code, (self.name, arguments, run.stdout, run.stderr)
        return run.stderr.decode()

    def overwrite(self, file, uri):
        self.ok("put", file, uri, *self.overwrites)

    def hold(self, uri):
        """A process of it that is attached for writing until it is ended."""
        command = [self.path, "create", uri, "--size", "1M", "--max-size", "4M"]
        process = subprocess.Popen(
            [*command, "--lifetime", "process"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert b"created" in process.stdout.readline()
        return process

    def looked_at(self, uri):
        """What its gc would do with that segment."""
        candidates = self.json("gc", "--dry-run")["candidates"]
        (found,) = [each for each in candidates if each["uri"] == uri]
        return found


def end(process, how=signal.SIGTERM):
    process.send_signal(how)
    process.communicate(timeout=100)


@pytest.fixture(scope="session")
def old(tmp_path_factory):
    strata, make_heap = os.environ.get("STRATA_OLD"), os.environ.get("MAKE_HEAP_OLD")
    if not strata:
        if not old_tree.has_commit(ROOT, COMMIT):
            pytest.skip(f"STRATA_OLD is not set, and the history does not go back to {COMMIT}")
        folder = tmp_path_factory.mktemp("old")
        tree = old_tree.unpack(ROOT, COMMIT, folder / "tree")
        strata, make_heap = old_tree.build(
            tree, str(folder / "programs"), ["//tools:strata", "//tests/e2e:make_heap"])
    return Program("old", os.path.abspath(strata), make_heap, [])


@pytest.fixture(scope="session")
def new():
    return Program("new", STRATA, MAKE_HEAP, ["--in-place"])


@pytest.fixture(params=["old_then_new", "new_then_old"])
def pair(request, old, new):
    """Who makes something, and who comes to it."""
    return (old, new) if request.param == "old_then_new" else (new, old)


@pytest.fixture
def uri(new):
    made = "shm:" + new_name()
    yield made
    new.run("rm", "--force", made)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "content"
    path.write_bytes(golden.text("between the versions", 300_000))
    return path


def test_what_one_puts_the_other_reads_and_overwrites(pair, uri, file, tmp_path):
    first, second = pair
    first.ok("put", file, uri, "--max-size", "1M")
    assert second.ok("cat", uri) == file.read_bytes()
    assert second.json("info", uri)["payload_bytes"] == 300_000
    (listed,) = second.json("ls", uri.removeprefix("shm:"))["segments"]
    assert listed["problem"] is None and listed["state"] == "ready"
    second.ok("check", uri)
    longer = tmp_path / "longer"
    longer.write_bytes(golden.text("longer", 500_000))
    second.overwrite(longer, uri)
    assert first.ok("cat", uri) == longer.read_bytes()
    second.ok("rm", uri)
    first.refuses(NOT_FOUND, "info", uri)


def test_one_sees_grow_what_it_holds(pair, uri):
    first, second = pair
    holder = first.hold(uri)
    second.ok("grow", uri, "2M")
    assert first.json("info", uri)["payload_bytes"] == 2 << 20
    first.ok("grow", uri, "3M")
    assert second.json("info", uri)["payload_bytes"] == 3 << 20
    end(holder)


def test_neither_takes_from_the_other_what_it_holds(pair, uri):
    first, second = pair
    holder = first.hold(uri)
    try:
        assert str(holder.pid) in second.refuses(REFUSED, "rm", uri)
        assert str(holder.pid) in second.refuses(REFUSED, "seal", uri)
        info = second.json("info", uri)
        assert holder.pid in [each["pid"] for each in info["holders"]]
        assert info["creator"]["alive"] and info["attached_for_writing"]
        assert not second.looked_at(uri)["orphan"]
        assert first.json("info", uri)["state"] == "ready"
    finally:
        end(holder)
    second.refuses(NOT_FOUND, "info", uri)


def test_a_name_that_one_takes_away_the_other_may_give_anew(pair, uri, file):
    first, second = pair
    holder = first.hold(uri)
    second.ok("rm", "--force", uri)
    second.ok("put", file, uri)
    # The end of the process whose segment it was does not concern the new one.
    end(holder)
    assert first.ok("cat", uri) == file.read_bytes()


def test_what_one_seals_the_other_verifies_and_does_not_write(pair, uri, file):
    first, second = pair
    first.ok("put", file, uri)
    second.ok("seal", uri)
    first.ok("verify", uri)
    assert first.json("info", uri)["seal"] == second.json("info", uri)["seal"]
    first.refuses(REFUSED, "grow", uri, "1M")
    first.refuses(REFUSED, "put", file, uri, *first.overwrites)


def test_each_knows_the_orphans_of_the_other(pair, uri):
    first, second = pair
    end(first.hold(uri), signal.SIGKILL)
    assert second.looked_at(uri)["orphan"]
    assert second.looked_at(uri)["evidence"] == first.looked_at(uri)["evidence"]


def test_each_reclaims_the_orphans_of_the_other_and_no_more(pair, uri):
    first, second = pair
    # In a /dev/shm of its own: the orphans of others are theirs.
    script = """
        mount -t tmpfs none /dev/shm || exit 99
        coproc "$1" create "$3" --size 1M --lifetime process
        read -r -t 100 -u "${COPROC[0]}" && kill -KILL "$COPROC_PID" || exit 1
        "$1" create "$3-kept" --size 1M || exit 1
        # Until the kernel has ended it.
        wait "$COPROC_PID"
        "$2" gc --json && "$2" info "$3-kept" && ! "$2" info "$3"
    """
    run = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script, "bash", first.path, second.path, uri],
        capture_output=True, timeout=300, check=False)
    if run.returncode == 99 or b"unshare" in run.stderr:
        pytest.skip("cannot mount a /dev/shm of its own here: " + run.stderr.decode().strip())
    assert run.returncode == 0, (run.stdout, run.stderr)


def test_each_recovers_what_the_other_died_in(pair, uri):
    first, second = pair
    if not first.make_heap or not second.make_heap:
        pytest.skip("MAKE_HEAP_OLD is not set")
    subprocess.run([first.make_heap, uri], check=True, timeout=300)
    for dying in (second, first, second):
        # Each takes the lock from the one before, ends its transaction, and dies with it as well.
        died = subprocess.run([dying.make_heap, uri, "--die-holding"], check=False, timeout=300)
        assert died.returncode == -signal.SIGKILL
        locks = [program.json("locks", uri)["locks"] for program in pair]
        assert locks[0] == locks[1] and locks[0][0]["state"] == "owner-died"
        for program in pair:
            program.ok("check", uri)
    names = [[each["name"] for each in p.json("objects", uri)["objects"]] for p in pair]
    assert names[0] == names[1] and "table" in names[0]


def make_versions(program, pool, folder):
    """Four versions of `model`; their contents by number."""
    contents = {}
    for version in (1, 2, 3, 4):
        contents[version] = golden.text(f"{program.name} {version}", 150_000 + version)
        path = folder / f"{program.name}-{version}"
        path.write_bytes(contents[version])
        program.ok("pool", "import", pool, "model", path, "--keep", "3")
    return contents


def holds(program, pool, contents, folder):
    for version, content in contents.items():
        out = folder / f"{program.name}-out"
        program.ok("pool", "export", pool, "model", out, "--replace", "--version", version)
        assert out.read_bytes() == content
    program.ok("pool", "check", pool)


def test_a_pool_of_one_is_read_and_changed_by_the_other(pair, file, tmp_path):
    first, second = pair
    pool = tmp_path / "shared.pool"
    first.ok("pool", "create", pool, "--size", "32M")
    contents = make_versions(first, pool, tmp_path)
    first.ok("put", file, f"pmem:{pool}#sealed", "--seal")
    holds(second, pool, contents, tmp_path)
    second.ok("verify", f"pmem:{pool}#sealed")
    assert second.json("pool", "rollback", pool, "model", "--version", 2)["version"] == 2
    assert first.ok("cat", f"pmem:{pool}#model") == contents[2]
    second.ok("pool", "import", pool, "model", file, "--keep", "3")
    assert first.ok("cat", f"pmem:{pool}#model") == file.read_bytes()
    second.ok("pool", "grow", pool, "--size", "48M")
    first.ok("pool", "rm", pool, "sealed")
    for program in pair:
        program.ok("pool", "check", pool)


def test_a_backup_of_one_is_restored_by_the_other(pair, tmp_path):
    first, second = pair
    pool, restored = tmp_path / "shared.pool", tmp_path / "restored.pool"
    first.ok("pool", "create", pool, "--size", "32M")
    contents = make_versions(first, pool, tmp_path)
    first.ok("pool", "backup", pool, tmp_path / "backup")
    second.ok("pool", "restore", restored, tmp_path / "backup")
    for program in pair:
        holds(program, restored, contents, tmp_path)


def test_what_one_holds_in_a_pool_the_other_does_not_remove(pair, tmp_path):
    first, second = pair
    pool = tmp_path / "shared.pool"
    first.ok("pool", "create", pool, "--size", "32M")
    segment = f"pmem:{pool}#held"
    holder = first.hold(segment)
    try:
        second.refuses(REFUSED, "rm", segment)
        second.refuses(REFUSED, "pool", "rm", pool, "held")
        assert second.json("info", segment)["attached_for_writing"]
    finally:
        end(holder)
    second.ok("pool", "check", pool)


def import_patiently(program, *arguments):
    """On a slow machine a command may wait in vain for the others, and says so."""
    for _ in range(60):
        run = program.run("pool", "import", *arguments)
        if run.returncode == DONE:
            return
        assert b"timed_out" in run.stderr, (program.name, run.stderr)
    raise AssertionError(f"{program.name}: waited in vain for the pool")


def test_both_change_one_pool_at_the_same_time(old, new, file, tmp_path):
    pool = tmp_path / "shared.pool"
    old.ok("pool", "create", pool, "--size", "64M")

    def change(program, number):
        for _ in range(6):
            import_patiently(program, pool, f"of-{program.name}-{number}", file, "--keep", "2")

    with concurrent.futures.ThreadPoolExecutor() as threads:
        changes = [threads.submit(change, each, number) for each in (old, new) for number in (1, 2)]
    for each in changes:
        each.result()
    for program in (old, new):
        segments = program.json("pool", "ls", pool)["segments"]
        assert all(each["problem"] is None for each in segments)
        current = {s["name"]: s["version"] for s in segments if s["state"] == "current"}
        assert current == {"of-old-1": 6, "of-old-2": 6, "of-new-1": 6, "of-new-2": 6}
        for name in current:
            assert program.ok("cat", f"pmem:{pool}#{name}") == file.read_bytes()
        program.ok("pool", "check", pool)


def test_a_snapshot_and_a_repair_of_one_are_pools_to_the_other(pair, tmp_path):
    first, second = pair
    pool = tmp_path / "shared.pool"
    first.ok("pool", "create", pool, "--size", "32M")
    contents = make_versions(first, pool, tmp_path)
    second.ok("pool", "snapshot", pool, tmp_path / "snapshot.pool")
    holds(first, tmp_path / "snapshot.pool", contents, tmp_path)
    second.ok("pool", "repair", pool, "--to", tmp_path / "repaired.pool")
    holds(first, tmp_path / "repaired.pool", contents, tmp_path)
