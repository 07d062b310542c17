"""`strata pool check`: sound (0), damaged (1), busy (4) or unknown (5), and only what it proved."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading

import pytest

from tests.e2e.command import (
    DONE, FAILED, REFUSED, STRATA, UNKNOWN, as_json, new_name, ok, refusal, strata)

EXIT_OF = {"sound": DONE, "damaged": FAILED, "busy": REFUSED, "unknown": UNKNOWN}
LOOPS = int(os.environ.get("STRATA_CHECK_LOOPS", "40"))

# Opens a pool as any program of libpmemobj does, and keeps it open until its input ends.
HOLD = """
import ctypes, sys
library = ctypes.CDLL("libpmemobj.so.1")
library.pmemobj_open.restype = ctypes.c_void_p
held = library.pmemobj_open(sys.argv[1].encode(), None)
print("held" if held else "refused", flush=True)
sys.stdin.read()
library.pmemobj_close(ctypes.c_void_p(held))
"""


@pytest.fixture
def place():
    """A directory that every user can reach."""
    path = tempfile.mkdtemp(prefix="strata-check-", dir="/tmp")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def pool(place):
    path = os.path.join(place, "run.pool")
    ok("pool", "create", path, "--size", "64M")
    return path


def put(pool, content, *arguments):
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return strata("pool", "import", pool, "model", file.name, *arguments)


def overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def report_of(run):
    """What a check says; its exit status must say the same."""
    assert run.returncode in EXIT_OF.values(), run
    report = json.loads(run.stdout)
    assert EXIT_OF[report["verdict"]] == run.returncode, run
    assert report["is_sound"] == (report["verdict"] == "sound")
    return report


def check(pool, *arguments):
    return report_of(strata("pool", "check", pool, "--json", *arguments))


def verdicts(report):
    return {item["what"]: item["outcome"] for item in report["items"]}


class Writers:
    """Importers of new versions, one after the other, until the end."""

    def __init__(self, pool, count=2):
        self.is_over = threading.Event()
        self.results = []
        self.threads = [
            threading.Thread(target=self.work, args=(pool, letter)) for letter in b"ab"[:count]]
        for thread in self.threads:
            thread.start()

    def work(self, pool, letter):
        while not self.is_over.is_set():
            self.results.append(put(pool, bytes([letter]) * 500_000, "--keep", "1"))

    def end(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join()
        return self.results


class Holder:
    def __init__(self, pool):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, pool], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"held\n"

    def end(self):
        self.process.communicate()


def test_beside_imports_a_check_says_sound_or_busy_and_never_damaged(pool):
    put(pool, b"first" * 100_000, "--keep", "1")
    writers = Writers(pool)
    seen = []
    try:
        for _ in range(LOOPS):
            report = check(pool)
            assert report["verdict"] in ("sound", "busy"), report
            assert set(verdicts(report).values()) <= {"sound", "gone", "busy"}, report
            seen.append(report["verdict"])
    finally:
        results = writers.end()
    assert "sound" in seen
    assert any(result.returncode == DONE for result in results)
    assert check(pool)["verdict"] == "sound"
    print(f"verified: {LOOPS} checks beside imports")


def test_beside_imports_list_and_info_see_no_damage(pool):
    put(pool, b"first" * 100_000, "--keep", "1")
    writers = Writers(pool)
    try:
        for _ in range(LOOPS):
            run = strata("pool", "ls", pool, "--json")
            if run.returncode == DONE:
                segments = json.loads(run.stdout)["segments"]
                assert all(segment["problem"] is None for segment in segments), segments
    finally:
        writers.end()


def test_a_pool_that_a_program_holds_open_is_busy_and_the_program_is_named(pool):
    put(pool, b"content" * 10_000)
    holder = Holder(pool)
    try:
        report = check(pool, "--timeout-ms", "50")
        assert report["verdict"] == "busy"
        text = strata("pool", "check", pool, "--timeout-ms", "50").stdout.decode()
        assert f"pid {holder.process.pid}" in text and ": busy" in text and "DAMAGED" not in text
    finally:
        holder.end()
    assert check(pool)["verdict"] == "sound"


def test_a_check_waits_for_a_program_that_lets_go(pool):
    holder = Holder(pool)
    checking = subprocess.Popen(
        [STRATA, "pool", "check", pool, "--timeout-ms", "100000", "--json"],
        stdout=subprocess.PIPE)
    holder.end()
    output, _ = checking.communicate()
    assert json.loads(output)["verdict"] == "sound" and checking.returncode == DONE


def as_another_user(place, pool, command):
    """Runs `$STRATA pool check $POOL` in a shell of a user who owns nothing."""
    binary = os.path.join(place, "strata")
    if not os.path.exists(binary):
        shutil.copy(STRATA, binary)
        os.chmod(binary, 0o755)
    return subprocess.run(
        ["setpriv", "--reuid=61234", "--regid=61234", "--clear-groups", "bash", "-c", command],
        env={**os.environ, "STRATA": binary, "POOL": pool}, capture_output=True, check=False)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")


@needs_root
def test_without_the_right_to_write_a_pool_is_checked_all_the_same(place, pool):
    put(pool, b"content" * 10_000)
    os.chmod(pool, 0o644)
    run = as_another_user(place, pool, "exec $STRATA pool check $POOL --json")
    assert report_of(run)["verdict"] == "sound"
    os.chmod(pool, 0o600)
    run = as_another_user(place, pool, "exec $STRATA pool check $POOL --json")
    assert report_of(run)["verdict"] == "unknown"


@needs_root
def test_without_processes_nothing_is_called_sound_or_damaged(place, pool):
    put(pool, os.urandom(3_000_000))
    os.chmod(pool, 0o644)
    command = "ulimit -u 0; exec $STRATA pool check $POOL --json"
    report = report_of(as_another_user(place, pool, command))
    assert report["verdict"] == "unknown"
    assert verdicts(report)["segment model version 1"] == "sound"  # that needs none
    overwrite(pool, 0x2108, b"bd")
    assert report_of(as_another_user(place, pool, command))["verdict"] != "sound"


@needs_root
def test_on_a_medium_that_cannot_be_written_to_a_pool_is_sound(place, pool):
    put(pool, b"content" * 10_000)
    script = f"mount --bind -o ro {place} {place} && exec {STRATA} pool check {pool} --json"
    run = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, check=False)
    if b"mount" in run.stderr or b"unshare" in run.stderr:
        pytest.skip(f"cannot mount here: {run.stderr.decode().strip()}")
    assert report_of(run)["verdict"] == "sound"


@pytest.mark.parametrize("prefix", [[], ["env", "--ignore-signal=CHLD"]])
def test_two_bytes_of_which_every_change_dies_are_damage(pool, prefix):
    overwrite(pool, 0x2108, b"bd")
    before = read(pool)
    run = subprocess.run([*prefix, STRATA, "pool", "check", pool, "--json"],
                         capture_output=True, check=False)
    assert report_of(run)["verdict"] == "damaged"
    assert read(pool) == before


def test_a_damaged_header_is_damage_and_no_misuse(pool):
    put(pool, b"content" * 10_000)
    overwrite(pool, 0, b"\0" * 64)
    assert check(pool)["verdict"] == "damaged"
    assert strata("pool", "ls", pool).returncode == FAILED
    assert "signature" in as_json_whatever("pool", "info", pool)["problem"]


def as_json_whatever(*arguments):
    return json.loads(strata(*arguments, "--json").stdout)


def test_a_pool_that_was_cut_short_is_said_to_be_and_by_how_much(pool):
    os.truncate(pool, 48 << 20)
    for command in ("info", "check"):
        run = strata("pool", command, pool)
        assert run.returncode == FAILED
        assert b"truncated: 16777216 of its 67108864 bytes are missing" in run.stdout


def foreign_pools(place):
    layouts = {"obj": ["--layout", "x"], "blk": ["512"], "log": []}
    for kind, arguments in layouts.items():
        path = os.path.join(place, kind)
        made = subprocess.run(["pmempool", "create", kind, *arguments, path],
                              capture_output=True, check=False)
        if made.returncode == 0:
            yield path
    path = os.path.join(place, "bare")
    subprocess.run(["pmempool", "create", "obj", "--layout", "strata", path], check=True)
    yield path
    path = os.path.join(place, "set")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"PMEMPOOLSET\n16M {place}/part\n")
    yield path


@pytest.mark.skipif(shutil.which("pmempool") is None, reason="no pmempool")
def test_pools_of_others_are_refused_alike_by_all_commands_and_left_alone(place):
    for path in foreign_pools(place):
        before = read(path)
        for command in ("ls", "check", "repair"):
            error = refusal(FAILED, "pool", command, path)
            assert error["code"] == "unsupported" and " is a" in error["message"], error
        assert strata("pool", "info", path).returncode == DONE
        assert read(path) == before and not os.path.exists(path + ".repaired")


def test_what_cannot_be_told_to_be_a_pool_is_unknown(place):
    text, pipe = os.path.join(place, "text"), os.path.join(place, "pipe")
    with open(text, "wb") as file:
        file.write(os.urandom(100_000))
    os.mkfifo(pipe)
    for path in (text, pipe):
        assert check(path)["verdict"] == "unknown"


def test_a_bad_block_is_damage_for_the_check_of_its_segment_too(pool):
    put(pool, os.urandom(300_000))
    (segment,) = as_json("pool", "ls", pool)["segments"]
    uri = f"pmem:{pool}#model"
    assert as_json("check", uri)["verdict"] == "sound"
    overwrite(pool, segment["payload_offset_bytes"] + 70_000, b"damaged!")
    run = strata("check", uri, "--json")
    assert run.returncode == FAILED and json.loads(run.stdout)["verdict"] == "damaged"
    assert "block 1" in json.loads(run.stdout)["findings"][0]["text"]


def test_a_segment_in_memory_is_sound_or_damaged_too(place):
    uri, content = "shm:" + new_name(), os.path.join(place, "content")
    with open(content, "wb") as file:
        file.write(b"sealed" * 10_000)
    ok("put", "--seal", content, uri)
    try:
        assert as_json("check", uri)["verdict"] == "sound"
        overwrite(f"/dev/shm/strata.{uri[4:]}", 9000, b"damaged!")
        run = strata("check", uri, "--json")
        assert run.returncode == FAILED and json.loads(run.stdout)["verdict"] == "damaged"
    finally:
        ok("rm", "--force", uri)
